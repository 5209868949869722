"""Where a run's figures go: CSV, W&B, TensorBoard."""
