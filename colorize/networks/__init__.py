"""Generators and discriminators, built by name."""
