"""The SLURM room. Empty so far: `--executor slurm` is refused with that word, and nothing here pretends otherwise."""
