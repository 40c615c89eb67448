"""The share of tokens that pre-training distils: which are drawn, and that nothing but noise comes of it."""
