"""Training callbacks: checkpoints, monitoring of the training state, samples, time limit, cost."""
