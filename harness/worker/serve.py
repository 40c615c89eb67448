"""What a worker process reads and writes: one line of JSON each way.

    in   {"store": DIR, "sources": .., "resources": .., "intervals": .., "source": digest}   once
    in   {"job": NAME, "stages": [identity, ..], "expired_leases": {stage id: generation}}
    out  {"job": NAME, "problems": {stage id: error}, "leaving": whether it ends now}
         the bundle has ended; the rest is in the store

The end of the input, SIGTERM, or SIGUSR2 means: stop at the next checkpoint, release the lease, exit. So workers do not
outlive a driver that was killed.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import queue
import sys
import threading
from pathlib import Path
from typing import TextIO

from harness.inputs.content_hashes import ContentHashes
from harness.specs import StageSpec
from harness.stages.context import Resources, Sources
from harness.store.intervals import Intervals
from harness.store.store import Store
from harness.worker.run import run_bundle
from harness.worker.source_state import source_digest
from harness.worker.stop_request import StopRequest


def serve(stop: StopRequest) -> int:
    """Runs bundles until the input ends, or until the bundle ends in which a stop is requested. The exit code."""
    replies = _private_stdout()
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    stop.wake(lambda: orders.put(""))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    line = sys.stdin.readline()
    if not line or stop():
        return 0
    settings = json.loads(line)
    store = Store(Path(settings["store"]))
    sources = Sources.from_json(settings["sources"], ContentHashes(store.content_hashes_path))
    resources, intervals = Resources(**settings["resources"]), Intervals(**settings["intervals"])
    if settings["source"] != source_digest():
        sys.exit("the source changed since the grid was started; give its command again.")

    def listen() -> None:
        for line in sys.stdin:
            orders.put(line)
        stop.ask()

    threading.Thread(target=listen, name="orders", daemon=True).start()
    is_first = True
    while line := orders.get():
        order = json.loads(line)
        stages = [StageSpec.from_json(identity) for identity in order["stages"]]
        problems = run_bundle(stages, store, sources, resources, stop, order["expired_leases"], order["job"], intervals)
        reply = {"job": order["job"], "problems": problems, "leaving": stop()}
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
