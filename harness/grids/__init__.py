"""One grid, from its options to its plan, cost and run: what the command line and the Python interface share."""
