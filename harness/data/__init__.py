"""From files in the hub's schema to batches of tensors: one module per step, each importable on its own."""
