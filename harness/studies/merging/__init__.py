"""Several stores into one: what they hold, what of it goes together, and bringing it."""
