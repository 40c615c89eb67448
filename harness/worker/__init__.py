"""One stage to its record: all that a compute node runs."""
