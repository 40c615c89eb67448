"""Padding for the tasks: a batch is as long as its longest example, or of one length. (Pre-training: `masking`.)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

TENSOR_COLUMNS = ("input_ids", "token_type_ids", "attention_mask", "labels", "start_positions", "end_positions")
FLOAT_COLUMNS = ("scores",)  # targets of a regression
INDEX = "index"  # 0, 1, .. in the order of the data set


class PaddingCollator:
    """Batches of task features: input_ids, token_type_ids and attention_mask padded, all targets stacked.

    Every other column (index, length, offsets, ids of questions) stays behind. Padding is on the tokenizer's padding
    side, with its pad token; pad positions have attention_mask 0.

    length: tokens of every batch; None: those of its longest example. with_index: the examples' places in their data
    set come along, for who looks something up by them.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, length: int | None = None, *, with_index: bool = False
    ) -> None:
        self._length = length
        self._names = (*TENSOR_COLUMNS, *FLOAT_COLUMNS, *([INDEX] if with_index else []))
        self._side = tokenizer.padding_side
        self._pads = {
            "input_ids": tokenizer.pad_token_id,
            "token_type_ids": tokenizer.pad_token_type_id,
            "attention_mask": 0,
        }

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Tensors [batch, length] for the padded columns, [batch] for the others, int64; fp32 for `FLOAT_COLUMNS`.

        Raises ValueError for an example of more tokens than every batch has.
        """
        import torch
        from torch.nn.functional import pad
        from torch.nn.utils.rnn import pad_sequence

        types = dict.fromkeys(FLOAT_COLUMNS, torch.float32)
        columns = {
            name: [torch.as_tensor(feature[name], dtype=types.get(name, torch.int64)) for feature in features]
            for name in self._names
            if name in features[0]
        }
        columns.setdefault("attention_mask", [torch.ones_like(ids) for ids in columns["input_ids"]])
        missing = batch_length(columns["input_ids"], self._length) - max(map(len, columns["input_ids"]))
        sides = (0, missing) if self._side == "right" else (missing, 0)

        def padded(name: str) -> torch.Tensor:
            value = self._pads[name]
            rows = pad_sequence(columns[name], batch_first=True, padding_value=value, padding_side=self._side)
            return rows if missing == 0 else pad(rows, sides, value=value)

        return {name: padded(name) if name in self._pads else torch.stack(columns[name]) for name in columns}


def batch_length(token_ids: Sequence[Sized], length: int | None) -> int:
    """Tokens of a batch of these examples: `length`, or the longest's where that is None.

    Raises ValueError for an example of more than `length` tokens.
    """
    longest = max(map(len, token_ids))
    if length is None:
        return longest
    if longest > length:
        raise ValueError(f"an example has {longest} tokens, and every batch {length}: expected at most as many.")
    return length
