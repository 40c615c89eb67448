"""Python programs in processes forked from one that has imported the libraries: importing takes longer than a tiny run.

Such a process is one of its own in all that a test does to it: it has its own id, hears signals, dies of SIGKILL and
has an exit code. That the commands start from nothing is for other tests. What it starts itself is started as ever.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

from grid_world import environment

LIBRARIES = "libraries_in_use"
FORKING = multiprocessing.get_context("forkserver")


class Forked:
    """`python -P WORDS`, forked; what it prints goes to a file.

    All of this process's are forked from one server, whose working folder and environment are those of the first start.
    """

    def __init__(self, words: Sequence[str], output: Path) -> None:
        FORKING.set_forkserver_preload([LIBRARIES])
        with mock.patch.dict(os.environ, environment()):  # where the server finds what it is to import
            forkserver.ensure_running()
        self.output = output
        self._process = FORKING.Process(target=_run, args=(list(words), str(output)))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """The exit code, as `subprocess` has it. Kills it and raises TimeoutExpired where it takes longer."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join()
            raise subprocess.TimeoutExpired("a forked program", timeout, self.printed())
        return code

    def printed(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""


def run(words: Sequence[str], output: Path, timeout: float = 300) -> Forked:
    """The program once it has ended."""
    started = Forked(words, output)
    started.wait(timeout)
    return started


def _run(words: list[str], output: str) -> None:
    """In the child: what `python -P` does with these words, a module after -m or a file."""
    printed = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
