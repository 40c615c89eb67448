"""One grid, from what was asked to what will run and cost: what the command line and the Python interface share."""
