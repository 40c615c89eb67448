"""Packed checkpoints: a compressed model's weights in about the bytes that their information asks for."""
