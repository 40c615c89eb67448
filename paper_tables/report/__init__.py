"""A study as one page of HTML that needs nothing beside it: what ran, its numbers, and what stands behind each."""
