"""What a set of cells has, lacks and may lose: a store read in the light of plans."""
