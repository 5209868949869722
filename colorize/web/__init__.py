"""A web page that colors photographs on the machine that serves it."""

from colorize.web.server import serve

__all__ = ["serve"]
