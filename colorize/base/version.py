"""The version of this project; pyproject.toml, CITATION.cff and CHANGELOG.md have the same."""

VERSION = "0.1.0"
