"""Color photographs, videos and data sets with a trained generator."""

from colorize.inference.colorizer import Colorizer, Options

__all__ = ["Colorizer", "Options"]
