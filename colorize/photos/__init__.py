"""Read and write photograph files with their metadata, ICC profile and transparency; needs no torch."""
