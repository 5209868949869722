"""A web page that colors photographs where it runs."""

from colorize.web.server import serve

__all__ = ["serve"]
