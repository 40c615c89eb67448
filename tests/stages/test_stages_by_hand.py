"""What stages make of their parameters, with counts worked by hand: steps, splits, order, evaluation mode."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch import nn
from toy_training import PARAMETERS
from transformers import BertConfig, BertForPreTraining, BertForSequenceClassification, TrainerCallback, set_seed

from harness.compression.quantization import FrozenQuantizedLinear, dequantize_linears, freeze, quantize_linears
from harness.data.pairs import Pairing
from harness.inputs.families import BERT
from harness.progress import NEVER
from harness.stages import evaluation, pretraining, pretraining_data, task_data, task_heads
from harness.stages.context import Resources
from harness.stages.loading import load_for_pretraining, load_for_task, load_tokenizer, save_artifact
from harness.stages.pretraining import pretraining_metrics
from harness.stages.task_heads import ClassificationHead, QuestionAnsweringHead
from harness.stages.training_run import TrainingOutcome, TrainingRun
from harness.tasks import get_task
from harness.training.modifiers import Modifier
from harness.training.objectives import ClassificationObjective

SIZES = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 8,
}


class Rates(TrainerCallback):
    """The rate of every optimizer step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.found.append(kwargs["optimizer"].param_groups[0]["lr"])


def collate(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    ids = torch.tensor([feature["input_ids"] for feature in features])
    labels = torch.tensor([feature["labels"] for feature in features])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def trained(folder: Path, **parameters: Any) -> tuple[TrainingOutcome, list[float]]:
    """Seven examples in batches of two: four steps an epoch, the last of one example."""
    rates = Rates()

    class Watched(Modifier):
        def callbacks(self, num_steps: int) -> list[TrainerCallback]:
            return [rates]

    def load() -> nn.Module:
        set_seed(0)
        return BertForSequenceClassification(BertConfig(**SIZES))

    rows = {"input_ids": [[5 + i] * 4 for i in range(7)], "labels": [i % 2 for i in range(7)], "length": [4] * 7}
    context: Any = SimpleNamespace(
        parameters={**PARAMETERS, "threads": 1, "batch_size": 2, "learning_rate": 1.0, **parameters},
        spec=SimpleNamespace(kind="dense"),
        checkpoints=folder,
        resources=Resources(checkpoint_minutes=60.0),
        should_stop=lambda: False,
        guard=lambda: None,
        report=lambda progress: None,
        team=None,
    )
    run = TrainingRun(
        context=context,
        load_model=load,
        family=BERT,
        make_modifier=lambda model, matrices, num_steps: Watched(matrices=matrices),
        objective=ClassificationObjective(),
        examples=datasets.Dataset.from_dict(rows),
        collator=collate,
    )
    return run.run(), rates.found


def test_parts_of_epochs_and_of_warm_up_steps_are_rounded_up(tmp_path: Path) -> None:
    """1.3 epochs of 4 steps are 5.2, so 6; .2 of 6 are 1.2, so 2 of warm-up: rates 0, 1/2, then 1 down by quarters."""
    outcome, rates = trained(tmp_path, epochs=1.3, warmup_fraction=0.2)
    training = outcome.details["training"]
    assert (training["steps"], training["warmup_steps"], training["examples"]) == (6, 2, 7)
    assert rates == pytest.approx([0, 0.5, 1, 0.75, 0.5, 0.25])
    # A whole epoch, 28 tokens; then two batches of two examples of four tokens, or the one that has a single example.
    assert training["tokens_seen"] in (28 + 16, 28 + 12)


def test_a_number_of_steps_is_taken_as_it_is(tmp_path: Path) -> None:
    outcome, rates = trained(tmp_path, steps=3, warmup_fraction=0.0)
    assert outcome.details["training"]["steps"] == 3
    assert rates == pytest.approx([1, 2 / 3, 1 / 3])


def test_a_loaded_model_keeps_the_dropout_of_its_configuration(tiny: Any) -> None:
    """A tenth, the library's default, in every dropout layer: a loader's option could turn it off unseen."""
    options: dict[str, Any] = {"seed": 0, "attention": "eager", "new_head": True}
    for model in (load_for_task(tiny.model, get_task("sst2"), **options), load_for_pretraining(tiny.model, **options)):
        shares = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
        assert shares
        assert set(shares) == {0.1}
        assert model.config.attention_probs_dropout_prob == 0.1


# -- pre-training


class OneBatch:
    """Rows of one length, masked where `labels` says so."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        columns = {name: torch.tensor([f[name] for f in features]) for name in features[0]}
        return {**columns, "attention_mask": torch.ones_like(columns["input_ids"])}


def test_held_out_pairs_are_measured_without_dropout() -> None:
    """The model comes out of training in training mode. The oracle: softmax over the logits in evaluation mode."""
    set_seed(0)
    config = BertConfig(**SIZES, hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5, initializer_range=0.5)
    model = BertForPreTraining(config).train()
    rows = [
        {
            "input_ids": [5 + (row + i) % 9 for i in range(6)],
            "token_type_ids": [0, 0, 0, 1, 1, 1],
            "labels": [7 if i == row % 6 else -100 for i in range(6)],
            "next_sentence_label": row % 2,
        }
        for row in range(5)
    ]
    collator: Any = OneBatch()
    found = pretraining_metrics(model, rows, collator, batch_size=2)
    assert found == pretraining_metrics(model.train(), rows, collator, batch_size=2)

    model.eval()
    with torch.no_grad():
        answers = [
            model(input_ids=torch.tensor([row["input_ids"]]), token_type_ids=torch.tensor([row["token_type_ids"]]))
            for row in rows
        ]
    tokens = [answer.prediction_logits[0, row % 6].double() for row, answer in enumerate(answers)]
    losses = [-float(torch.log(torch.exp(z[7]) / torch.exp(z).sum())) for z in tokens]
    assert found["mlm_loss"] == pytest.approx(sum(losses) / 5, rel=1e-5)
    assert found["mlm_correct"] == sum(int(z.argmax()) == 7 for z in tokens)
    assert found["nsp_correct"] == sum(
        int(answer.seq_relationship_logits.argmax()) == row % 2 for row, answer in enumerate(answers)
    )
    assert (found["mlm_positions"], found["nsp_pairs"]) == (5, 5)


class Begun(Exception):
    """Raised where the measuring would begin."""


def test_held_out_pairs_are_as_many_as_the_recipe_says_with_masks_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every model is measured on the same masks, those of epoch 0; and on three pairs of the five."""
    found: dict[str, Any] = {}
    outcome = SimpleNamespace(model="the trained model", report=None, details={})
    collators: list[dict[str, Any]] = []

    def measure(model: Any, held_out: Any, collator: Any, *others: Any) -> None:
        found.update(model=model, held_out=held_out["n"][:], collator=collator)
        raise Begun

    held_out = datasets.Dataset.from_dict({"n": list(range(5))})
    monkeypatch.setattr(pretraining, "TrainingRun", lambda **given: SimpleNamespace(run=lambda: outcome))
    monkeypatch.setattr(pretraining, "load_pairs", lambda context, split: held_out if split == "validation" else None)
    monkeypatch.setattr(pretraining, "load_tokenizer", lambda folder: None)
    monkeypatch.setattr(pretraining, "start_folder", lambda context: None)
    monkeypatch.setattr(pretraining, "family_of", lambda folder: BERT)
    monkeypatch.setattr(pretraining, "pretraining_metrics", measure)
    monkeypatch.setattr(
        pretraining, "MaskedLanguageModelCollator", lambda tokenizer, **options: collators.append(options) or options
    )
    parameters = {"seed": 7, "mlm_probability": 0.2, "padding": "longest", "evaluation_pairs": 3, "attention": "eager"}
    parameters["precision"] = "fp32"
    context: Any = SimpleNamespace(
        parameters=parameters,
        parent_artifacts={"pairs": tmp_path},
        parent_records={"pairs": {"parameters": {"max_length": 9}}},
        stops=NEVER,
    )
    with pytest.raises(Begun):
        pretraining.pretrain(context, modifier=lambda *given: Modifier(matrices=None))  # type: ignore[arg-type]
    assert found["model"] == "the trained model"
    assert found["held_out"] == [0, 1, 2]
    assert found["collator"] == {"seed": 7, "selection_probability": 0.2, "fixed_epoch": 0}
    assert collators[0] == {"seed": 7, "selection_probability": 0.2, "kd_positions": 1.0, "length": None}


def test_every_parameter_of_pairing_reaches_the_pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Pairing] = []

    def pairs_dataset(articles: Any, tokenizer: Any, pairing: Pairing, **options: Any) -> None:
        given.append(pairing)
        raise Begun

    monkeypatch.setattr(pretraining_data, "pairs_dataset", pairs_dataset)
    monkeypatch.setattr(pretraining_data, "_tokenizer_folder", lambda context: None)
    tokenizer = SimpleNamespace(save_pretrained=lambda folder: None)
    monkeypatch.setattr(pretraining_data, "load_tokenizer", lambda folder: tokenizer)
    monkeypatch.setattr(pretraining_data, "map_parquet", lambda *given: None)
    parameters = {
        "max_length": 17,
        "short_sequence_probability": 0.3,
        "next_sentence_probability": 0.7,
        "seed": 5,
    }
    context: Any = SimpleNamespace(
        parameters=parameters,
        artifact=tmp_path,
        checkpoints=tmp_path,
        parent_artifacts={"corpus": tmp_path},
        resources=Resources(),
        stops=NEVER,
    )
    with pytest.raises(Begun):
        pretraining_data.pairs(context)
    assert given == [Pairing(**parameters)]  # type: ignore[arg-type]
    assert given[0] != Pairing()


def corpus_order(folder: Path, shuffle_seed: int) -> list[str]:
    articles = datasets.Dataset.from_dict({"text": [f"Article {i} is short." for i in range(30)]})
    folder.mkdir()
    context: Any = SimpleNamespace(
        parameters={"sentence_splitter": "regex-en-1", "shuffle_seed": shuffle_seed},
        sources=SimpleNamespace(data=SimpleNamespace(articles=lambda *given: articles)),
        spec=SimpleNamespace(inputs={"train": "", "validation": ""}),
        resources=Resources(),
        checkpoints=folder,
        artifact=folder,
        stops=NEVER,
        checked=NEVER.over,
    )
    pretraining_data.corpus(context)
    written = datasets.Dataset.from_parquet(str(folder / "train.parquet"), cache_dir=str(folder / "cache"))
    return [sentences[0] for sentences in written["sentences"]]


def test_the_articles_of_the_corpus_are_shuffled_with_the_seed_of_the_recipe(tmp_path: Path) -> None:
    in_order = [f"Article {i} is short." for i in range(30)]
    found = corpus_order(tmp_path / "a", 42)
    assert found == [in_order[i] for i in np.random.default_rng(42).permutation(30)]
    assert found != in_order
    assert sorted(corpus_order(tmp_path / "b", 7)) == sorted(in_order)
    assert corpus_order(tmp_path / "c", 7) != found


# -- tasks


class Votes(nn.Module):
    """Votes for the class that the token names."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": nn.functional.one_hot(input_ids[:, 0], 3).float()}


def test_mnlis_matched_score_is_that_of_the_matched_split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four rows matched, three right; five mismatched, one right."""
    splits = {
        "validation_matched": ([0, 1, 2, 0], [0, 1, 2, 1]),
        "validation_mismatched": ([0, 0, 0, 0, 0], [0, 1, 1, 2, 2]),
    }
    rows = {
        name: datasets.Dataset.from_dict(
            {"input_ids": [[vote] for vote in votes], "label": labels, "length": [1] * len(votes)}
        )
        for name, (votes, labels) in splits.items()
    }
    monkeypatch.setattr(ClassificationHead, "evaluation_examples", lambda self, rows, *others: rows)
    monkeypatch.setattr(evaluation, "PaddingCollator", lambda tokenizer: OneBatch())
    monkeypatch.setattr(evaluation, "load_for_scoring", lambda *given: (Votes(), []))
    monkeypatch.setattr(evaluation, "load_tokenizer", lambda folder: None)
    monkeypatch.setattr(evaluation, "family_of", lambda folder: BERT)
    monkeypatch.setattr(evaluation.Matrices, "of", lambda model, family: SimpleNamespace(encoder=()))
    monkeypatch.setattr(evaluation, "zero_counts", lambda model, names: {"a": (1, 2)})
    monkeypatch.setattr(evaluation, "read_split", lambda context, task, split, name: rows[split])
    context: Any = SimpleNamespace(
        parameters={"task": "mnli", "threads": 1, "batch_size": 2, "precision": "fp32"},
        spec=SimpleNamespace(inputs=dict.fromkeys(splits, "")),
        parent_artifacts={"model": None},
        parent_records={"model": {"result": {"sparsity": {"encoder": 0.5}}}},
        artifact=tmp_path,
        report=lambda progress: None,
        stops=NEVER,
    )
    metrics = evaluation.evaluation(context).metrics
    assert (metrics["mnli"]["accuracy"], metrics["mnli-mm"]["accuracy"]) == (0.75, 0.2)


def test_the_settings_of_windows_and_answers_reach_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(task_heads, "encode_training", lambda rows, tokenizer, **options: given.update(train=options))
    monkeypatch.setattr(task_heads, "encode_evaluation", lambda rows, tokenizer, **options: given.update(score=options))

    def answers(*given_: Any, **options: Any) -> dict[str, str]:
        given.update(answers=options, logits=given_[2:4])
        return {}

    monkeypatch.setattr(task_heads, "predictions_from_logits", answers)
    monkeypatch.setattr(task_heads, "question_answering_scores", lambda *given_: {})
    monkeypatch.setattr(task_heads, "question_scores", lambda *given_: {})
    monkeypatch.setattr(task_heads, "answer_predictions", lambda *given_: None)
    parameters = {"max_length": 11, "doc_stride": 3, "max_query_length": 5, "n_best": 7, "max_answer_length": 9}
    head, task = QuestionAnsweringHead(), get_task("squad")
    rows: Any = None
    head.training_examples(rows, task, None, parameters)
    head.evaluation_examples(rows, task, None, parameters)
    outputs: Any = {"start_logits": "starts", "end_logits": "ends"}
    head.scores(rows, rows, outputs, task, parameters)
    windows = {"max_length": 11, "stride": 3, "max_query_length": 5, "stops": NEVER}
    assert given["train"] == given["score"] == windows
    assert given["answers"] == {"n_best": 7, "max_answer_length": 9, "stops": NEVER}
    assert given["logits"] == ("starts", "ends")


def test_classes_are_trained_and_scored_on_texts_of_the_length_that_the_task_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(task_heads, "encode_texts", lambda *given_, **options: given.append(options))
    head, task, rows = ClassificationHead(), get_task("sst2"), datasets.Dataset.from_dict({})
    head.training_examples(rows, task, None, {"max_length": 11})
    head.evaluation_examples(rows, task, None, {"max_length": 12})
    assert given == [{"max_length": 11, "stops": NEVER}, {"max_length": 12, "stops": NEVER}]


def test_an_int8_cell_is_scored_from_its_integers(tiny: Any, tmp_path: Path) -> None:
    task = get_task("sst2")
    model = load_for_task(tiny.model, task, seed=0, attention="eager", new_head=True)
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    assert len(linears) == 2 * 6 + 2
    quantize_linears(model, linears, fp32_output_names=[])
    ids = torch.tensor([[2, 9, 14, 3]])
    model.train()(input_ids=ids)
    int8 = freeze(model)
    dequantize_linears(model, int8)
    save_artifact(tmp_path, model, load_tokenizer(tiny.model), int8)
    parameters = {"attention": "eager", "arithmetic": "int8"}
    scored, did = evaluation.load_for_scoring(tmp_path, task, parameters)
    frozen = [name for name, module in scored.named_modules() if isinstance(module, FrozenQuantizedLinear)]
    assert frozen == linears
    assert did == [
        "loaded 14 Linear modules from int8.safetensors: int8 codes, frozen scales, stored activation ranges"
    ]
    assert not scored.training
    plain, _ = evaluation.load_for_scoring(tmp_path, task, {**parameters, "arithmetic": "fp32"})
    assert not any(isinstance(module, FrozenQuantizedLinear) for module in plain.modules())
    assert not plain.training
    with torch.no_grad():
        assert not torch.equal(scored(input_ids=ids).logits, plain(input_ids=ids).logits)


@pytest.mark.parametrize(("wanted", "count"), [(0, 10), (4, 4)])
def test_a_stage_trains_on_as_many_examples_as_the_recipe_says(
    monkeypatch: pytest.MonkeyPatch, wanted: int, count: int
) -> None:
    rows = datasets.Dataset.from_dict({"sentence": [str(i) for i in range(10)]})
    monkeypatch.setattr(task_data, "read_split", lambda *given: rows)
    monkeypatch.setattr(ClassificationHead, "training_examples", lambda self, rows, *others: rows["sentence"][:])

    def chosen(seed: int) -> list[str]:
        parameters = {"train_examples": wanted, "train_subset_seed": seed}
        return task_data.training_examples(SimpleNamespace(parameters=parameters, stops=NEVER), get_task("sst2"), None)  # type: ignore[arg-type, return-value]

    found = [chosen(seed) for seed in range(4)]
    assert {len(each) for each in found} == {count}
    assert math.comb(10, count) == 1 or len({tuple(each) for each in found}) > 1
