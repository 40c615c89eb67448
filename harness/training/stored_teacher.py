"""StoredTeacher: what a teacher says of every example of a fixed training set, in the place of the teacher itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

from torch import Tensor, nn


class StoredTeacher(nn.Module):
    """Looks a teacher's logits up by example. Objectives call it as they call a model; nothing is computed.

    by_example: name -> [examples, classes]. by_token: name -> [tokens of all examples, one after the other].
    places: [examples], of by_token: where each example's tokens begin. Not needed without by_token.
    """

    def __init__(
        self,
        *,
        by_example: Mapping[str, Tensor] | None = None,
        by_token: Mapping[str, Tensor] | None = None,
        places: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.places: Tensor
        self.by_example = _frozen(by_example or {})
        self.by_token = _frozen(by_token or {})
        self.register_buffer("places", places)

    def forward(self, index: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        """The logits by name: [batch, classes], or [batch, length] with 0 at padding, on whichever side it is.

        index: [batch], places in the data set. attention_mask: [batch, length], 1 at the tokens of each example.
        """
        found = {name: rows[index] for name, rows in self.by_example.items()}
        if self.by_token:
            live = attention_mask == 1
            position = self.places[index].unsqueeze(1) + live.cumsum(dim=1) - 1
            position = position.clamp_min(0)  # of padding before the first token
            found |= {name: rows[position].masked_fill(~live, 0.0) for name, rows in self.by_token.items()}
        return SimpleNamespace(**found)


def _frozen(tensors: Mapping[str, Tensor]) -> nn.ParameterDict:
    return nn.ParameterDict({name: nn.Parameter(tensor, requires_grad=False) for name, tensor in tensors.items()})
