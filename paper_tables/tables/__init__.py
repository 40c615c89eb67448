"""Numbers as text: tables and the notes under them."""
