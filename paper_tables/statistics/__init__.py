"""What seeds and examples say about a difference: intervals, tests and their corrections. Pure; knows no study."""
