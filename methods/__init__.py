"""Method adapters: one declaration per method. They say when the arithmetic of `harness.compression` runs."""
