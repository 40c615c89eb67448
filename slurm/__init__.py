"""The SLURM room: profiles, job arrays, submission, and what a task of the cluster does."""
