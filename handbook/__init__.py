"""The site: the pages of the tree as they are, and a reference that is made from the code when the site is built."""
