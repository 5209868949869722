"""Utilities that every other package builds on: errors, atomic file writes, value checks, a registry, seeds."""
