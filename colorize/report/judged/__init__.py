"""The page of what judges found: scores of any method's pictures, and what a data set teaches a model."""
