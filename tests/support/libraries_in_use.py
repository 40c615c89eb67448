"""Imports what a tiny training uses, for a process that others are forked from; nothing that starts a thread."""

import accelerate
import datasets
import evaluate
import sklearn.metrics
import torch
import transformers

USED = (
    accelerate.Accelerator,
    datasets.Dataset,
    evaluate.Metric,
    sklearn.metrics.accuracy_score,
    torch.nn.Module,
    transformers.AutoTokenizer,
    transformers.BertForPreTraining,
    transformers.BertForSequenceClassification,
    transformers.DataCollatorWithPadding,
    transformers.Trainer,
)
