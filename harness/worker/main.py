"""A long-lived worker process: reads bundles from its standard input, runs them, reports when each has ended.

Started by `harness.execution.local` as `python -P -m harness.worker.main`. One line of JSON each way:

    in   {"store": DIR, "sources": .., "resources": .., "source": digest}   once
    in   {"job": NAME, "stages": [identity, ..], "expired_leases": {stage id: generation}}
    out  {"job": NAME, "problems": {stage id: error}, "leaving": whether it ends now}
         the bundle has ended; the rest is in the store

The end of the input, or SIGTERM, means: stop at the next checkpoint, release the lease, exit. So workers do not outlive
a driver that was killed.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import TextIO

from harness.inputs.content_hashes import ContentHashes
from harness.specs import StageSpec
from harness.stages.context import Resources, Sources
from harness.store.store import Store
from harness.worker.run import run_bundle
from harness.worker.source_state import source_digest


def main() -> int:
    """Runs bundles until the input ends."""
    replies = _private_stdout()
    stops: list[bool] = []  # no lock: the handler of a signal may run inside itself
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()

    def request_stop(*_: object) -> None:
        stops.append(True)
        orders.put("")

    def should_stop() -> bool:
        return bool(stops)

    signal.signal(signal.SIGTERM, request_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the driver, which stops us
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = json.loads(sys.stdin.readline())
    store = Store(Path(settings["store"]))
    sources = Sources.from_json(settings["sources"], ContentHashes(store.content_hashes_path))
    resources = Resources(**settings["resources"])
    if settings["source"] != source_digest():
        sys.exit("the source changed since the grid was started; give its command again.")

    def listen() -> None:
        for line in sys.stdin:
            orders.put(line)
        request_stop()

    threading.Thread(target=listen, name="orders", daemon=True).start()
    is_first = True
    while line := orders.get():
        order = json.loads(line)
        stages = [StageSpec.from_json(identity) for identity in order["stages"]]
        problems = run_bundle(stages, store, sources, resources, should_stop, order["expired_leases"], order["job"])
        reply = {"job": order["job"], "problems": problems, "leaving": should_stop()}
        print(json.dumps(reply), file=replies, flush=True)
        if is_first:
            _freeze_imports()
            is_first = False
    return 0


def _freeze_imports() -> None:
    """Exclude what the first stage imported, a few million objects, from garbage collection.

    Accelerate collects garbage after every training, and each time would walk through all of it.
    """
    gc.collect()
    gc.freeze()


def _private_stdout() -> TextIO:
    """The pipe to the driver, for us alone: the output of libraries goes to the worker's log instead."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return replies


if __name__ == "__main__":
    sys.exit(main())
