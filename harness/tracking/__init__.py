"""Trackers: finished stages of a study, written to TensorBoard, W&B, MLflow or trackio, behind the records."""
