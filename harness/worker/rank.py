"""A rank other than 0 of a training stage: `python -P -m harness.worker.rank [RANK]`, by `harness.worker.ranks`.

It runs the stage's own code up to the end of the training, with folders of its own of which nothing is kept, and writes
nothing else. RANK: its number; without it, SLURM's. It ends once its standard input does: the worker is gone then.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

LOST = 3  # exit code: the worker is gone, or another rank


def main() -> int:
    """The exit code: 0 after the training, and after a stop."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):  # the worker is told as well, and says when to stop
        signal.signal(number, signal.SIG_IGN)
    rank = int(sys.argv[1]) if len(sys.argv) > 1 else int(os.environ["SLURM_PROCID"])
    if rank == 0:  # the worker's place in a step over all ranks
        return 0
    if len(sys.argv) == 1:
        _show_own_device()
    order = json.loads(sys.stdin.readline() or "null")
    if order is None:
        return LOST
    threading.Thread(target=_end_with_input, name="worker's end", daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format=f"%(asctime)s %(levelname)s rank {rank} %(name)s: %(message)s")
    return follow(order, rank)


def _show_own_device() -> None:
    """Of the GPUs that the node shows to all of its ranks, each sees one: by its number on the node."""
    shown = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
    if shown:
        os.environ["CUDA_VISIBLE_DEVICES"] = shown[int(os.environ["SLURM_LOCALID"]) % len(shown)]


def address() -> str:
    """Of the worker: SLURM's of the node from which this rank was started."""
    return os.environ.get("SLURM_LAUNCH_NODE_IPADDR") or socket.gethostname()


def _end_with_input() -> None:
    while sys.stdin.readline():
        pass
    os._exit(LOST)


def follow(order: dict[str, Any], rank: int) -> int:
    """Train with the others. Raises what the stage's code raises."""
    from harness.errors import FollowerDone, Interrupted, RankLost
    from harness.inputs.content_hashes import ContentHashes
    from harness.planning.method_registry import kind_of
    from harness.specs import StageSpec, Team
    from harness.stages.context import Resources, Sources, StageContext
    from harness.store.store import Store
    from harness.worker.source_state import source_digest

    print(f"rank {rank} of {order['size']} on {socket.gethostname()}", flush=True)
    if order["source"] != source_digest():
        sys.exit("the source on this node is not the worker's: give every node the same installation.")
    store, spec = Store(Path(order["store"])), StageSpec.from_json(order["stage"])
    parents = {role: store.stage(parent) for role, parent in spec.parents.items()}
    with tempfile.TemporaryDirectory(prefix="harness-rank-") as folder:
        artifact, checkpoints = Path(folder) / "artifact", Path(folder) / "checkpoints"
        artifact.mkdir()
        checkpoints.mkdir()
        host = "127.0.0.1" if order["is_local"] else address()
        context = StageContext(
            spec=spec,
            parent_records={role: parent.read_record() for role, parent in parents.items()},
            parent_artifacts={role: parent.artifact_path for role, parent in parents.items()},
            artifact=artifact,
            checkpoints=checkpoints,
            sources=Sources.from_json(order["sources"], ContentHashes(store.content_hashes_path)),
            resources=Resources(**order["resources"]),
            should_stop=lambda: False,
            report=lambda progress: None,
            team=Team(
                size=order["size"],
                rank=rank,
                is_local=order["is_local"],
                address=(host, order["port"]),
                copies=store.stage(spec.stage_id).checkpoints_path,
            ),
        )
        try:
            kind_of(spec).function()(context)
        except (FollowerDone, Interrupted):
            return 0
        except RankLost as error:
            logging.getLogger("harness").warning("%s", error)
            return LOST
    raise RuntimeError(f"{spec.kind} ended without a training: its code takes ranks for nothing")


if __name__ == "__main__":
    sys.exit(main())
