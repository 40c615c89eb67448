"""A Table as Markdown, LaTeX, HTML and CSV. Escaping is here, and nothing else; the same table gives the same bytes."""
