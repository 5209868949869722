"""Build the report of `colorize score` and `colorize bias`."""
