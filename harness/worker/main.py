"""A long-lived worker process: reads bundles from its standard input, runs them, reports when each has ended.

Started by `harness.execution.local` as `python -P -m harness.worker.main`. `harness.worker.serve` says what it reads
and writes. Here it only learns to listen to signals, before the imports that take time.
"""

from __future__ import annotations

import signal
import sys

from harness.worker.stop_request import StopRequest


def main() -> int:
    """Runs bundles until the input ends or a stop is requested."""
    stop = StopRequest()
    stop.listen()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the driver, which stops us
    from harness.worker.serve import serve

    return serve(stop)


if __name__ == "__main__":
    sys.exit(main())
