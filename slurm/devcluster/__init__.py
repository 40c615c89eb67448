"""A real SLURM on this machine for tests: slurmctld, slurmd in namespaces of their own, munge, accounting; one folder."""
