"""Photograph files: read with all that they hold beside their pixels, and written with it again; no torch."""
