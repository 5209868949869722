"""Measure the colors of a data set and how a model reproduces them: by category, across outlines, and on skin."""
