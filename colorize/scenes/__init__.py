"""The generated data set; no torch, so that workers which draw it start at once."""
