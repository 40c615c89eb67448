"""The matrix products of one training step, counted matrix by matrix from the model's own modules.

A step is the student's forward and backward pass and its teacher's forward pass. Padding is counted: it is multiplied
like any token. What is recomputed in a backward pass is not counted, nor is anything that is no matrix product
(embeddings, norms, softmax, GELU, the optimizer): a bound made of these products leaves it out on purpose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from benchmarks.matrix_product import MatrixProduct, Products, with_backward
from harness.data.masking import IGNORED_LABEL
from harness.inputs.families import FAMILIES
from harness.training.chunked_head import ROWS_PER_CHUNK

A_ROW_AN_EXAMPLE = ("pooler.dense", "cls.seq_relationship", "classifier", "pre_classifier")
A_ROW_A_TOKEN = ("qa_outputs",)
ON_HEAD_ROWS = ("cls.predictions.transform.dense", "vocab_transform")
DECODERS = ("cls.predictions.decoder", "vocab_projector")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """How many rows a model's matrices multiply for one batch.

    examples x length: the batch with its padding. live: its tokens without padding. head: positions on which the
    vocabulary head runs; chunked: whether it runs on them in chunks, as it does beside a teacher.
    """

    examples: int
    length: int
    live: int
    head: int = 0
    chunked: bool = False

    @classmethod
    def of_student(cls, inputs: Mapping[str, Tensor], *, distilled: bool) -> Rows:
        """Of the collator's tensors. distilled: there is a teacher."""
        if not _is_pretraining(inputs):
            return cls._of(inputs, 0, chunked=False)
        masked = inputs["labels"] != IGNORED_LABEL
        if not distilled:
            return cls._of(inputs, int(masked.sum()), chunked=False)
        return cls._of(inputs, int((masked | _distilled(inputs)).sum()), chunked=True)

    @classmethod
    def of_teacher(cls, inputs: Mapping[str, Tensor]) -> Rows:
        head = int(_distilled(inputs).sum()) if _is_pretraining(inputs) else 0
        return cls._of(inputs, head, chunked=True)

    @classmethod
    def _of(cls, inputs: Mapping[str, Tensor], head: int, *, chunked: bool) -> Rows:
        examples, length = inputs["attention_mask"].shape
        live = int(inputs["attention_mask"].sum())
        return cls(examples=examples, length=length, live=live, head=head, chunked=chunked)

    def head_chunks(self) -> list[int]:
        """Rows of each product with the vocabulary."""
        if not self.chunked:
            return [self.head] if self.head else []
        return [min(ROWS_PER_CHUNK, self.head - start) for start in range(0, self.head, ROWS_PER_CHUNK)]


def _is_pretraining(inputs: Mapping[str, Tensor]) -> bool:
    return "labels" in inputs and inputs["labels"].dim() == 2


def _distilled(inputs: Mapping[str, Tensor]) -> Tensor:
    """[batch, length], where the vocabulary distillation runs."""
    return inputs["kd_weights"] > 0 if "kd_weights" in inputs else inputs["attention_mask"] == 1


def forward_products(model: Any, rows: Rows) -> Products:
    """Of one forward pass. model: BERT or DistilBERT with any head of the harness; its weights are not read.

    Raises ValueError for a Linear of which nothing is known.
    """
    family = FAMILIES[model.config.model_type]
    encoder = set(family.encoder_matrices(model.config.num_hidden_layers))
    products: Products = Counter()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            for num_rows in _rows_of(name, encoder, rows):
                products[_linear(module, num_rows)] += 1
    heads = model.config.num_attention_heads
    width = model.config.hidden_size // heads
    for product in _attention(rows, heads, width):
        products[product] += model.config.num_hidden_layers
    return products


def step_products(student: Any, student_rows: Rows, teacher: Any = None, teacher_rows: Rows | None = None) -> Products:
    """Of one training step: the student's forward and backward pass, and the teacher's forward pass."""
    products = with_backward(forward_products(student, student_rows))
    if teacher is not None:
        assert teacher_rows is not None
        products.update(forward_products(teacher, teacher_rows))
    return products


def _rows_of(name: str, encoder: set[str], rows: Rows) -> list[int]:
    """Rows of each product with the matrix of that name."""
    if name in encoder or name in A_ROW_A_TOKEN:
        return [rows.examples * rows.length]
    if name.endswith(A_ROW_AN_EXAMPLE):
        return [rows.examples]
    if name in ON_HEAD_ROWS:
        return [rows.head] if rows.head else []
    if name in DECODERS:
        return rows.head_chunks()
    raise ValueError(f"Linear {name!r}: not known how many rows it multiplies. Say it in {__name__}.")


def _linear(module: nn.Linear, num_rows: int) -> MatrixProduct:
    return MatrixProduct(rows=num_rows, inner=module.in_features, columns=module.out_features, layout="NT")


def _attention(rows: Rows, heads: int, width: int) -> tuple[MatrixProduct, MatrixProduct]:
    """Scores Q K^T and context P V of one layer. width: of a head."""
    batch, length = rows.examples * heads, rows.length
    scores = MatrixProduct(batch=batch, rows=length, inner=width, columns=length, layout="NT")
    return scores, MatrixProduct(batch=batch, rows=length, inner=length, columns=width, layout="NN")
