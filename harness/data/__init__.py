"""From files in the hub's schema to batches of tensors: one module per step, each importable on its own."""

NUM_SPECIAL_TOKENS = 3  # of a pair of texts: [CLS] first [SEP] second [SEP]
