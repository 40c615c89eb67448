"""What a stage reads from outside the store: models, data and sparse checkpoints. They have content ids, are located on
this machine, and are reported when missing. Nothing heavy is imported before rows or weights are read.
"""
