"""Twins: records of one stage that say the same, made at another time or place.

Two people who ran one stage have two records, since a record says when and where it was made. Where result and artifact
are the same, bit for bit, what was made from the one might as well have been made from the other. A merged store keeps
one of them as the stage's record and the other as its twin, so that what was made from either stays sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.store.store import Store

EVALUATION = "evaluation"


def outcome(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record's result and the content of its artifact, without how long anything took.

    Of an evaluation the result alone: nothing is made from its artifact, and earlier versions kept none.
    """
    result = record.get("result")
    if isinstance(result, Mapping) and isinstance(result.get("training"), Mapping):
        training = {key: value for key, value in result["training"].items() if key != "seconds"}
        result = {**result, "training": training}
    if isinstance(result, Mapping) and "latency" in result:
        result = {key: value for key, value in result.items() if key not in ("latency", "did")}
    artifact = None if record.get("kind") == EVALUATION else record.get("artifact")
    return {"result": result, "artifact": artifact.get("digest") if isinstance(artifact, Mapping) else None}


def is_twin(store: Store, stage_id: str, digest: Any) -> bool:
    """Whether a digest is that of a twin of the stage's record in this store."""
    if not isinstance(digest, str):
        return False
    stage = store.stage(stage_id)
    twin = stage.read_twin(digest)
    return twin is not None and outcome(twin) == outcome(stage.read_record())
