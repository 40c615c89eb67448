"""What a stage reads from outside the store: models, data and sparse checkpoints, named by content, found on this
machine, told when missing. Nothing heavy is imported before rows or weights are read.
"""
