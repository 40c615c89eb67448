"""The gate: whether a study still gives the numbers that a committed file expects, within the noise of their seeds."""
