"""Memory and time of the stages corpus and pairs on text made by repetition: `python -m corpus_memory FOLDER`.

--megabytes of text, from --articles (a parquet file with title and text; default: the synthetic world's). Of each stage
the peak of the memory that is its own (RssAnon of the process and its children: files that are mapped are no load), its
seconds, and what it made.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

EVERY_SECONDS = 0.05


def write_articles(path: Path, megabytes: float, source: Path | None) -> int:
    """A parquet file of so much text. The number of its articles."""
    if source is None:
        from harness.synthetic import source as world

        rows: dict[str, list[Any]] = dict(world.corpus("train", 0))
    else:
        rows = pq.read_table(source, columns=["title", "text"]).to_pydict()
    size = sum(len(text.encode()) for text in rows["text"])
    table = pa.table({"title": list(rows["title"]), "text": list(rows["text"])})
    written = articles = 0
    with pq.ParquetWriter(path, table.schema) as writer:
        while written < megabytes * 1e6:
            share = min(1.0, (megabytes * 1e6 - written) / size)
            part = table.slice(0, max(1, round(share * len(table))))
            writer.write_table(part, row_group_size=1000)
            written += round(share * size)
            articles += len(part)
    return articles


@contextmanager
def measured(told: dict[str, Any]) -> Iterator[None]:
    """Into `told`: seconds, and the peak of memory in MB."""
    over, peak = threading.Event(), [0]

    def watch() -> None:
        while True:
            peak[0] = max(peak[0], sum(_own_kilobytes(pid) for pid in _family(os.getpid())))
            if over.wait(EVERY_SECONDS):
                return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    started = time.monotonic()
    try:
        yield
    finally:
        over.set()
        watching.join()
        told.update(seconds=round(time.monotonic() - started, 1), peak_mb=round(peak[0] * 1024 / 1e6))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = thread.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))


def _own_kilobytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--articles", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--stages", default="corpus,pairs")
    parser.add_argument("--piece", type=float, default=100, help="MB of a row group, which is in memory (default 100)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    import datasets
    import tiny_world

    from harness.data import corpus as corpus_module
    from harness.specs import StageSpec
    from harness.stages import pretraining_data
    from harness.stages.context import Resources, Sources, StageContext

    corpus_module.BYTES_AT_A_TIME = round(options.piece * 1e6)
    datasets.config.MAX_ROW_GROUP_SIZE = f"{options.piece:g}MB"
    data = options.folder / "data" / "corpus"
    data.mkdir(parents=True)
    count = write_articles(data / "train.parquet", options.megabytes, options.articles)
    write_articles(data / "validation.parquet", min(1.0, options.megabytes / 20), options.articles)
    tokenizer = tiny_world.make_model(options.folder / "model")

    class Data:
        def articles(self, split: str, content_id: str, cache: Path, stops: Any) -> Any:
            from harness.inputs.parquet import read_articles

            return read_articles([data / f"{split}.parquet"], cache_dir=cache, stops=stops)

    def run(kind: str, stage: Callable[[Any], Any], parameters: dict[str, Any], parents: dict[str, Path]) -> Any:
        artifact, checkpoints = (options.folder / kind / name for name in ("artifact", "checkpoints"))
        artifact.mkdir(parents=True)
        context = StageContext(
            spec=StageSpec(kind=kind, parameters=parameters, inputs={"train": "", "validation": "", "tokenizer": ""}),
            parent_records={},
            parent_artifacts=parents,
            artifact=artifact,
            checkpoints=checkpoints,
            sources=Sources(models={}, data=Data()),  # type: ignore[arg-type]
            resources=Resources(processes=options.processes),
            should_stop=lambda: False,
            report=lambda progress: None,
        )
        checkpoints.mkdir()
        told: dict[str, Any] = {}
        with measured(told):
            result = stage(context)
        return {**told, "did": result.did, "artifact_mb": round(_size(artifact) / 1e6)}

    pretraining_data._tokenizer_folder = lambda context: tokenizer  # type: ignore[assignment]
    pairing = {"max_length": 128, "short_sequence_probability": 0.1, "next_sentence_probability": 0.5, "seed": 42}
    found: dict[str, Any] = {"megabytes": options.megabytes, "articles": count, "processes": options.processes}
    chosen = options.stages.split(",")
    splitting = {"sentence_splitter": "regex-en-1", "shuffle_seed": 42}
    if "corpus" in chosen:
        found["corpus"] = run("corpus", pretraining_data.corpus, splitting, {})
    if "pairs" in chosen:
        parents = {"corpus": options.folder / "corpus" / "artifact"}
        found["pairs"] = run("pairs", pretraining_data.pairs, pairing, parents)
    print(json.dumps(found, indent=None if options.json else 1))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
