"""The SLURM room: `devcluster/`, a real SLURM for tests. `--executor slurm` is refused until it exists."""
