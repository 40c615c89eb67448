"""Dynamic padding for the tasks: a batch is as long as its longest example. (Pre-training: `harness.data.masking`.)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

TENSOR_COLUMNS = ("input_ids", "token_type_ids", "attention_mask", "labels", "start_positions", "end_positions")


class PaddingCollator:
    """Batches of task features: input_ids, token_type_ids and attention_mask padded, labels or positions stacked.

    Every other column (index, length, offsets, ids of questions) stays behind. Padding is on the tokenizer's padding
    side, with its pad token; pad positions have attention_mask 0.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._side = tokenizer.padding_side
        self._pads = {
            "input_ids": tokenizer.pad_token_id,
            "token_type_ids": tokenizer.pad_token_type_id,
            "attention_mask": 0,
        }

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Tensors [batch, length] for the padded columns, [batch] for the others, all int64."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        columns = {
            name: [torch.as_tensor(feature[name], dtype=torch.int64) for feature in features]
            for name in TENSOR_COLUMNS
            if name in features[0]
        }
        columns.setdefault("attention_mask", [torch.ones_like(ids) for ids in columns["input_ids"]])
        return {
            name: pad_sequence(values, batch_first=True, padding_value=self._pads[name], padding_side=self._side)
            if name in self._pads
            else torch.stack(values)
            for name, values in columns.items()
        }
