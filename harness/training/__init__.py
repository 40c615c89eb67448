"""Training: one subclass of the library's Trainer, objectives, modifiers (what compresses meanwhile), checkpoints."""
