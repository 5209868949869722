"""A web page that colors photographs where it runs."""

from colorize.demo.server import serve

__all__ = ["serve"]
