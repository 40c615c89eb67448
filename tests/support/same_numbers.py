"""Whether two revisions of the source give the same numbers, shown by running both.

`make same-numbers BASE=REV` runs the tiny grid (every stage kind, in this process and in worker processes) with the
source of REV and with the source of the working tree, on the same machine and the same inputs. It compares the stages
of every cell, every record and every artifact's digest, bit for bit, and prints what differs. Times, machine and commit
out, and so are digests that cover them. A file or a result that only the newer record has is no number that changed: it
is told, and what both have must be equal. Where nothing differs, the working tree's source is recorded as one
that gives the numbers of its versions (`code_versions`).

The sources are copies (git archive for REV), so that editing goes on while the grids run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import code_versions

ROOT = Path(__file__).resolve().parents[2]
EXECUTORS = ("debug", "local")
# Of a record: what tells when and where it was made, and the digests that cover that.
NOT_NUMBERS = ("times", "provenance", "digest", "parent_digests")
MOST_SHOWN = 40
_ABSENT = object()


@dataclass(frozen=True)
class Store:
    """What a store says of numbers. cells: by study and cell, the ids of its stages. records: by stage id.

    files: of each artifact, the digest of every file by its name.
    """

    cells: Mapping[str, Sequence[str]]
    records: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def kinds(self) -> set[str]:
        return {record["kind"] for record in self.records.values()}


@dataclass
class Comparison:
    """differences: a line each; empty when the two give the same numbers. stages: how many records were compared.

    new_files: kind and name of the files that artifacts have gained, with how many artifacts have.
    new_results: likewise, kind and path of the values that records' results have gained.
    """

    stages: int = 0
    kinds: set[str] = field(default_factory=set)
    differences: list[str] = field(default_factory=list)
    new_files: Counter[str] = field(default_factory=Counter)
    new_results: Counter[str] = field(default_factory=Counter)


def read(root: Path) -> Store:
    """A store's studies and records, read as plain JSON: the form is what two revisions share, not their code."""
    cells: dict[str, Sequence[str]] = {}
    for path in sorted((root / "studies").glob("*.json")):
        for cell in json.loads(path.read_bytes())["cells"]:
            stages = cell.pop("stages")
            cells[f"{path.stem}: {json.dumps(cell, sort_keys=True)}"] = stages
    records = {path.stem: json.loads(path.read_bytes()) for path in sorted((root / "records").glob("*/*.json"))}
    files = {folder.name: file_digests(folder) for folder in sorted((root / "artifacts").glob("*"))}
    return Store(cells, records, files)


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what tells when and where it was made."""
    kept = {key: value for key, value in record.items() if key not in NOT_NUMBERS}
    result = dict(kept.get("result", {}))
    if "training" in result:
        result["training"] = {key: value for key, value in result["training"].items() if key != "seconds"}
    return {**kept, "result": result}


def compare(base: Store, head: Store) -> Comparison:
    """Every difference in the cells' stages, in the records and in the artifacts' digests."""
    found = Comparison(stages=len(head.records), kinds=head.kinds)
    for cell in {**base.cells, **head.cells}:
        if base.cells.get(cell) != head.cells.get(cell):
            found.differences.append(f"cell {cell}: stages {base.cells.get(cell)}, now {head.cells.get(cell)}")
    for stage_id in {**base.records, **head.records}:
        before, after = base.records.get(stage_id), head.records.get(stage_id)
        if before is None or after is None:
            kind = (before or after or {})["kind"]
            found.differences.append(f"{kind} {stage_id}: a record {'only now' if before is None else 'no more'}")
            continue
        old_numbers, new_numbers = numbers(before), numbers(after)
        if gained := _gained(before, after):
            found.new_files.update(f"{before['kind']}: {name}" for name in gained)
            theirs, ours = base.files.get(stage_id, {}), head.files.get(stage_id, {})
            old_numbers["artifact"], new_numbers["artifact"] = theirs, {name: ours.get(name) for name in theirs}
        for where, old, new in differing(old_numbers, new_numbers):
            if old is _ABSENT and where.startswith("result."):
                found.new_results[f"{before['kind']}: {where}"] += 1
                continue
            found.differences.append(f"{before['kind']} {stage_id}: {where} was {_short(old)}, is {_short(new)}")
    return found


def _gained(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """The files that the later artifact has beside all those of the earlier one; none where it lacks one of those."""
    old, new = (set(record.get("artifact", {}).get("files", ())) for record in (before, after))
    return new - old if old <= new else set()


def differing(one: Any, other: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path and both values of every leaf in which two JSON values differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}):
            yield from differing(one.get(key, _ABSENT), other.get(key, _ABSENT), f"{where}.{key}".lstrip("."))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for position, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differing(left, right, f"{where}[{position}]")
    elif type(one) is not type(other) or one != other:
        yield where, one, other


def _short(value: Any) -> str:
    text = "absent" if value is _ABSENT else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


# -- running


def grids(world: Path, store: Path, executor: str) -> dict[str, list[str]]:
    """The command lines of the tiny grid, by study. Together they run every stage kind and every way to start."""
    import tiny_world

    def tiny(model: Path, *words: str, **settings: object) -> list[str]:
        arguments = tiny_world.grid_arguments(model, world / "data", store, **settings)
        return [*arguments, *words, "--executor", executor, "--max-gpu-hours", "100"]

    workers = ("--workers", "2") if executor == "local" else ()
    one_task = ("--tasks", "sst2", *workers)
    sparse = f"mine={world / 'sparse'}"
    return {
        "slice": tiny(world / "model", *workers),
        "mine": tiny(world / "model", "--sparse-from", sparse, "--study", "mine", *one_task),
        "distilbert": tiny(world / "distilbert", "--study", "distilbert", *one_task),
        "generated": _with(
            tiny(world / "model", "--study", "generated", *one_task), models="tiny-narrow", data="synthetic"
        ),
    }


def _with(words: list[str], **values: str) -> list[str]:
    """The command line with other values of options that it has."""
    changed = list(words)
    for name, value in values.items():
        changed[changed.index(f"--{name}") + 1] = value
    return changed


def make_world(folder: Path) -> Path:
    import tiny_world
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = tiny_world.make_model(folder / "model")
    tiny_world.make_distilbert(folder / "distilbert")
    tiny_world.make_sparse(folder / "sparse", model, 0.7)
    tiny_world.make_data(folder / "data")
    return folder


def run(tree: Path, world: Path, store: Path, executor: str, studies: Collection[str] | None = None) -> Store:
    """The tiny grid (or some of its studies) with the source in `tree`. Raises RuntimeError where a grid fails."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    for study, words in grids(world, store, executor).items():
        if studies is not None and study not in studies:
            continue
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness", *words],
            env=environment,
            cwd=world,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            told = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise RuntimeError(f"the tiny grid ended with code {done.returncode} in {tree}:\n{told}")
    return read(store)


def archive(revision: str, folder: Path) -> Path:
    """The source of a revision."""
    folder.mkdir()
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", revision], capture_output=True, check=False)
    if packed.returncode:
        raise RuntimeError(f"BASE={revision}: {packed.stderr.decode().strip()}. Name a commit of this repository.")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


def working_tree(folder: Path) -> Path:
    """The source as it stands here, with what is not committed yet."""
    listed = subprocess.run(
        [
            "git",
            "-C",
            str(ROOT),
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.py",
            "*.toml",
            "*.csv",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def compare_trees(
    base: Path,
    head: Path,
    folder: Path,
    executors: Sequence[str] = EXECUTORS,
    studies: Collection[str] | None = None,
) -> Comparison:
    """Runs both and compares them for each executor, and the executors with each other."""
    world = make_world(folder / "world")
    total = Comparison()
    heads: list[Store] = []
    for executor in executors:
        stores = {name: folder / f"{name}-{executor}" for name in ("base", "head")}
        began = time.monotonic()
        with ThreadPoolExecutor() as side_by_side:  # the two at once: each has a process of its own
            runs = [
                side_by_side.submit(run, tree, world, stores[name], executor, studies)
                for name, tree in (("base", base), ("head", head))
            ]
            before, after = (each.result() for each in runs)
        found = compare(before, after)
        heads.append(after)
        print(
            f"executor {executor}: {found.stages} stages of {len(found.kinds)} kinds, {len(found.differences)} "
            f"differences ({time.monotonic() - began:.0f} s)",
            flush=True,
        )
        total.stages += found.stages
        total.kinds |= found.kinds
        total.new_files += found.new_files
        total.new_results += found.new_results
        total.differences += [f"{executor}: {line}" for line in found.differences]
    for executor, other in zip(executors[1:], heads[1:], strict=True):
        between = compare(heads[0], other)
        only_there = [f"only in {executor}: {name}" for name in (*between.new_files, *between.new_results)]
        total.differences += [
            f"{executors[0]} against {executor}, here: {line}" for line in (*between.differences, *only_there)
        ]
    return total


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="compare the numbers of a revision and of the working tree")
    parser.add_argument("base", metavar="REV", help="the revision to compare the working tree with")
    base = parser.parse_args(arguments).base
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as name:
        folder = Path(name)
        head = working_tree(folder / "head")
        try:
            found = compare_trees(archive(base, folder / "base"), head, folder)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 2
        if found.differences:
            print(*found.differences[:MOST_SHOWN], sep="\n")
            if len(found.differences) > MOST_SHOWN:
                print(f"and {len(found.differences) - MOST_SHOWN} more")
            print(f"{base} and the working tree give other numbers: {len(found.differences)} differences.")
            return 1
        for name, count in sorted(found.new_files.items()):
            print(f"new file, which changes no number: {name} (in {count} artifacts)")
        for name, count in sorted(found.new_results.items()):
            print(f"new result, which changes no number: {name} (in {count} records)")
        print(f"{base} and the working tree give the same numbers: {found.stages} stages, {len(found.kinds)} kinds.")
        if sources(head) != sources(ROOT):
            print("the source was edited meanwhile, so the proof is not recorded; run it again.", file=sys.stderr)
            return 2
        code_versions.save(f"the numbers of {_commit(base)}, in {found.stages} stages of the tiny grid")
        print(f"recorded in {code_versions.FILE.relative_to(ROOT)}")
    return 0


def sources(root: Path) -> dict[str, bytes]:
    """What stages are computed by, to see whether it was edited while the grids ran."""
    return {str(path.relative_to(root)): path.read_bytes() for path in (root / "harness").rglob("*.py")}


def _commit(revision: str) -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short=12", revision]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
