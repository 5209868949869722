"""Train, compare and use GAN colorization models."""

__version__ = "0.1.0"
