"""Loading models and tokenizers for a stage, and writing the artifact: always the ecosystem's own format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.models import FAMILIES, BaseModel, Family
from harness.tasks import Task
from harness.worker import StageContext

INT8_FILE = "int8.safetensors"


def quiet() -> None:
    """No progress bars and load reports of the libraries in a worker's log."""
    import datasets

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()


def base_model(context: StageContext) -> BaseModel:
    """The base model a stage names. Raises ValueError when the files here are not the ones the plan was made with."""
    model = context.sources.models[context.parameters["model"]]
    wanted = context.spec.inputs["model"]
    if model.weights_sha256 != wanted:
        raise ValueError(
            f"model {model.alias!r} in {model.folder} has content {model.weights_sha256[:12]}.., "
            f"the plan wants {wanted[:12]}.."
        )
    return model


def family_of(folder: Path) -> Family:
    return FAMILIES[transformers.AutoConfig.from_pretrained(folder).model_type]


def load_tokenizer(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder)


def load_for_pretraining(folder: Path, *, seed: int, attention: str) -> Any:
    """The encoder with masked-LM and next-sentence heads; heads that the folder lacks are drawn with `seed`."""
    transformers.set_seed(seed)
    model = transformers.AutoModelForPreTraining.from_pretrained(
        folder, attn_implementation=attention, dtype=torch.float32
    )
    model.tie_weights()
    return model


def load_for_task(folder: Path, task: Task, *, seed: int, attention: str) -> Any:
    """The encoder with the task's head; a head that the folder lacks is drawn with `seed`."""
    transformers.set_seed(seed)
    loader: Any = transformers.AutoModelForQuestionAnswering
    options: dict[str, Any] = {}
    if task.kind == "classification":
        loader = transformers.AutoModelForSequenceClassification
        options = {
            "num_labels": task.num_labels,
            "id2label": dict(enumerate(task.label_names)),
            "label2id": {name: i for i, name in enumerate(task.label_names)},
        }
    return loader.from_pretrained(folder, attn_implementation=attention, dtype=torch.float32, **options)


def save_artifact(folder: Path, model: nn.Module, tokenizer: Any, int8: Any = None) -> None:
    """Model and tokenizer as AutoModel loads them; int8 codes, scales and ranges beside them where there are any."""
    model.save_pretrained(folder)  # type: ignore[operator]
    tokenizer.save_pretrained(folder)
    if int8 is not None:
        save_file({name: tensor.contiguous() for name, tensor in int8.items()}, folder / INT8_FILE)


def load_int8(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / INT8_FILE)
