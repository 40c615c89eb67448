"""Reference harness for compressing Transformer encoders: plan, run, record and tabulate Prune OFA and its competitors.

Rooms: this package holds specs, plan, store, recipes, tasks, models, the arithmetic (`compression`), training and the
command line; `methods` holds one declaration per method; `paper_tables` turns records into tables; `slurm` talks to a
scheduler. Nothing is imported here, so that `harness --help` stays quick: the names of `harness.api` are imported when
they are first used.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ("PlannedGrid", "__version__", "load_model", "load_packed", "plan_grid", "records", "tables")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from harness import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return list(__all__)
