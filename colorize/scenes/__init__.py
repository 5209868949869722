"""The generated data set; no torch, so that the processes that draw it start quickly."""
