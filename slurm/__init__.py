"""The SLURM room. Empty so far: `--executor slurm` is refused until it exists."""
