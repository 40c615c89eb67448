"""The special tokens that a tokenizer puts around texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NUM_SPECIAL_TOKENS = 3  # of a pair of texts, of most: [CLS] first [SEP] second [SEP]


class PairTemplate(NamedTuple):
    """What stands before, between and after two texts, as token ids; and the token types of the five parts in order.

    Of BERT [CLS], [SEP], [SEP] and 0 0 0 1 1; of RoBERTa <s>, </s></s>, </s> and only 0.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, int, int, int, int]

    @property
    def num_tokens(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> PairTemplate:
        """What the tokenizer does with a pair of its own mask token. Raises ValueError where it puts nothing around."""
        found = tokenizer(tokenizer.mask_token, tokenizer.mask_token, return_token_type_ids=True)
        ids, types, texts = found["input_ids"], found["token_type_ids"], found.sequence_ids(0)
        if 0 not in texts or 1 not in texts or texts[0] is not None or texts[-1] is not None:
            raise ValueError(
                "the tokenizer puts no special tokens before and after a pair of texts. Expected the model's own, "
                "whose tokenizer.json has a post-processor."
            )
        first, second = texts.index(0), texts.index(1)
        end_of_first, end = second - texts[:second][::-1].index(0), len(texts) - texts[::-1].index(1)
        parts = (0, first, min(end_of_first, second - 1), second, end)
        return cls(
            before=tuple(ids[:first]),
            between=tuple(ids[end_of_first:second]),
            after=tuple(ids[end:]),
            types=tuple(types[place] for place in parts),
        )

    def ids(self, first: list[int], second: list[int]) -> list[int]:
        return [*self.before, *first, *self.between, *second, *self.after]

    def token_types(self, first: list[int], second: list[int]) -> list[int]:
        """Of the tokens of `ids`."""
        lengths = (len(self.before), len(first), len(self.between), len(second), len(self.after))
        return [kind for kind, length in zip(self.types, lengths, strict=True) for _ in range(length)]
