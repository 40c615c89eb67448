"""Reference harness for compressing Transformer encoders: plan, run, record and tabulate Prune OFA and its competitors.

Rooms: this package holds specs, plan, store, recipes, tasks, models, the arithmetic (`compression`), training and the
command line; `methods` holds one declaration per method; `paper_tables` turns records into tables; `slurm` talks to a
scheduler. Nothing is imported here, so that `harness --help` stays quick.
"""

__version__ = "0.1.0"
