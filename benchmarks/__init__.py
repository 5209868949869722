"""Programs that measure; each prints tables and writes them as JSON."""
