"""What accompanies training: checkpoints, the watch, samples, the clock, cost."""
