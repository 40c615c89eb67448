"""The command line: parses, prints, gives exit codes. Decides nothing."""
