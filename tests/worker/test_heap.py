"""Freed memory: kept for the next step while a stage runs, given back after it."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from harness.worker import heap

# 48 and 8 MB asked for, written and freed, 20 times; prints the pages mapped meanwhile, and MB held.
PROGRAM = """
import resource, sys
from contextlib import nullcontext
import torch
from harness.worker.heap import freed_memory_kept

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() // 2**20

def steps():
    for _ in range(20):
        block = torch.full((12, 2**20), 1.0)
        other = torch.full((2, 2**20), 1.0)
        del block, other

steps()
before = held()
with freed_memory_kept() if sys.argv[1] == "kept" else nullcontext():
    torch.full((256, 2**18), 1.0)
    steps()
    began = faults()
    steps()
    print(faults() - began)
print(held() - before)
"""


def run(word: str) -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, check=True)
    mapped, held = map(int, done.stdout.split())
    return mapped, held


@pytest.mark.slow
@pytest.mark.skipif(heap._glibc() is None, reason="only glibc gives memory back so eagerly")
def test_freed_memory_is_kept_in_the_block_and_given_back_after_it() -> None:
    assert run("given back")[0] > 100_000
    mapped, held = run("kept")
    assert mapped < 1000  # 20 times 48 MB are 245,760 pages of 4 KiB, mapped anew where the block is none
    assert held < 64  # 256 MB were asked for and freed in the block


def test_after_the_block_the_process_has_glibcs_own_settings_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage may run in a notebook. The defaults are those of mallopt(3): 65,536 mappings, 128 KiB."""
    calls: list[tuple[str, int, int]] = []

    class Library:
        def mallopt(self, option: int, value: int) -> None:
            calls.append(("mallopt", option, value))

        def malloc_trim(self, pad: int) -> None:
            calls.append(("malloc_trim", 0, pad))

    monkeypatch.setattr(heap, "_glibc", Library)
    with heap.freed_memory_kept():
        inside = {option: value for _, option, value in calls}
    assert inside == {-4: 0, -1: 2**31 - 1}  # M_MMAP_MAX, M_TRIM_THRESHOLD
    assert sorted(calls[2:]) == [("malloc_trim", 0, 0), ("mallopt", -4, 65_536), ("mallopt", -1, 131_072)]
    assert calls[-1][0] == "malloc_trim"


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(name: None) -> object:
        return object()  # a C library without these calls

    monkeypatch.setattr(ctypes, "CDLL", other)
    heap._glibc.cache_clear()
    try:
        with heap.freed_memory_kept():
            assert heap._glibc() is None
    finally:
        heap._glibc.cache_clear()
