"""What mkdocs calls while it builds: the site's files are the pages of the tree, what they link to, and the reference.

mkdocs wants one folder of pages. Here they stand where they belong, in docs/, beside a method, beside the records, so
that the folder's own listing is put aside and every file has the path that it has in the tree.
"""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from handbook import reference, tree


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The theme's own files, the tree's, and the generated ones."""
    taken = Files([file for file in files if file.src_dir != config.docs_dir])
    names = tree.pages()
    for name in (*names, *tree.linked_files(names), tree.STYLE):
        taken.append(File(name, str(tree.ROOT), config.site_dir, config.use_directory_urls))
    for path, text in reference.pages().items():
        taken.append(File.generated(config, path, content=text))
    return taken
