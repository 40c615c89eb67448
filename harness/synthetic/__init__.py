"""The synthetic world: text with learnable structure, made from a seed, for runs without a download.

`words` is its closed vocabulary, `facts` what is the case in a scene, `grammar` how a fact is said or asked, `opinions`
how a verdict is; `tasks` and `articles` make rows from these, and `source` gives each table a content id, of generator
version, seed, name and size. `encoders` are the tiny models of the preset `quick`.
"""
