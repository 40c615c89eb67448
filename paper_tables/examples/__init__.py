"""Two models compared example by example, from the predictions that their evaluations kept."""
