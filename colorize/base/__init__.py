"""What every other room stands on: errors, whole files, checks, names, seeds; no images, no networks."""
