"""Arithmetic of the compression methods: schedules, masks, distillation losses, sparse and quantised Linears.

Functions of tensors and numbers plus small torch modules. Nothing here reads a file, knows a task or trains a model.
"""
