import hashlib
import json

import pytest

from harness.identity import canonical_json, sha256_of
from harness.specs import StageSpec


def test_canonical_json_sorts_keys_at_every_depth_and_writes_no_space() -> None:
    value = {"b": [2, {"d": 1, "c": None}], "a": True}
    assert canonical_json(value) == '{"a":true,"b":[2,{"c":null,"d":1}]}'
    assert canonical_json({"a": True, "b": [2, {"c": None, "d": 1}]}) == canonical_json(value)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.1, "0.1"), (1e-4, "0.0001"), (1e-8, "1e-08"), (1.0, "1.0"), (1, "1"), (0.1 + 0.2, "0.30000000000000004")],
)
def test_floats_stand_in_their_shortest_form_and_keep_their_type(number: float, text: str) -> None:
    assert canonical_json({"x": number}) == f'{{"x":{text}}}'


def test_text_stands_as_itself_and_is_hashed_as_utf8() -> None:
    assert canonical_json({"é": "日本"}) == '{"é":"日本"}'
    assert sha256_of("é") == hashlib.sha256(b'"\xc3\xa9"').hexdigest()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_a_number_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"loss": [number]})


def test_stage_id_is_the_first_128_bits_of_sha256_over_the_canonical_text() -> None:
    spec = StageSpec(
        kind="transfer",
        parameters={"seed": 0, "learning_rate": 1e-4, "lr_rewind": True},
        parents={"model": "ab", "teacher": "cd"},
        inputs={"train": "ef"},
        versions={"kind": 1},
    )
    text = (
        '{"inputs":{"train":"ef"},"kind":"transfer",'
        '"parameters":{"learning_rate":0.0001,"lr_rewind":true,"seed":0},'
        '"parents":{"model":"ab","teacher":"cd"},"versions":{"kind":1}}'
    )
    assert spec.stage_id == hashlib.sha256(text.encode()).hexdigest()[:32]
    assert len(spec.stage_id) * 4 == 128


BASE = {
    "kind": "k",
    "parameters": {"p": 1},
    "parents": {"model": "a"},
    "inputs": {"train": "b"},
    "versions": {"kind": 1},
}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "l"},
        {"parameters": {"p": 2}},
        {"parameters": {"q": 1}},
        {"parents": {"teacher": "a"}},
        {"parents": {"model": "c"}},
        {"inputs": {"train": "c"}},
        {"versions": {"kind": 2}},
    ],
)
def test_every_field_of_a_stage_enters_its_id(change: dict[str, object]) -> None:
    assert StageSpec.from_json({**BASE, **change}).stage_id != StageSpec.from_json(BASE).stage_id


def test_a_stage_read_back_from_json_keeps_its_id() -> None:
    spec = StageSpec.from_json(BASE)
    assert StageSpec.from_json(json.loads(json.dumps(spec.fingerprint_fields()))).stage_id == spec.stage_id
