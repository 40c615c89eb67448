"""A plan to its end, through a scheduler. Imports no torch."""
