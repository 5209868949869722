"""Experiment tracking: CSV, W&B, TensorBoard."""
