"""From axes and a recipe to a graph of stage specs. Pure: no torch, nothing is run, nothing is written."""
