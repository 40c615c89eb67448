"""The files of one stage, and the right to touch them. Knows no plan."""
