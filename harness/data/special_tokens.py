"""The special tokens that an encoder puts around texts."""

NUM_SPECIAL_TOKENS = 3  # of a pair of texts: [CLS] first [SEP] second [SEP]
