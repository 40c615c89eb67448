"""What a task is, the form of a TOML file that declares one, and those that are shipped (`shipped/`)."""
