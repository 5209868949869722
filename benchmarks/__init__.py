"""Benchmarks; each prints tables and writes them as JSON."""
