"""What a data set teaches about color, and what a model does with it: by category, across outlines, and on skin."""
