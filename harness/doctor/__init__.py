"""Facts about a machine, and what they mean for running stages on it."""
