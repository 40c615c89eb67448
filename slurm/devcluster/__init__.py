"""A real SLURM on this machine for tests: its daemons, and nodes in namespaces of their own, in one folder."""
