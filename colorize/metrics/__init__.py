"""Metrics of colorization: scores per image and per set, and perceptual distances."""

from colorize.metrics.color import ciede2000, delta_e, l1, out_of_gamut_share
from colorize.metrics.image import colorfulness, colorfulness_abs, psnr, ssim
from colorize.metrics.perceptual import PerceptualScores
from colorize.metrics.scores import PER_IMAGE, ImageScores, bootstrap, score_images, summarize

__all__ = [
    "PER_IMAGE",
    "ImageScores",
    "PerceptualScores",
    "bootstrap",
    "ciede2000",
    "colorfulness",
    "colorfulness_abs",
    "delta_e",
    "l1",
    "out_of_gamut_share",
    "psnr",
    "score_images",
    "ssim",
    "summarize",
]
