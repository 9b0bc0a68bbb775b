"""SLURM: a cluster of its jobs, and a scan handed to it."""
