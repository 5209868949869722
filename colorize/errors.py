"""The one exception that is shown to the user as a line instead of a traceback, and its line for a missing extra."""


class UserError(ValueError):
    """A mistake that the user can mend: the message names what was typed and what would do."""


def missing_extra(need: str, extra: str) -> str:
    """Return the line for a package that is not installed: it says what installs it from a clone.

    Args:
        need: what needs which package, such as ``the web page needs Gradio``.
        extra: a key of ``[project.optional-dependencies]`` in ``pyproject.toml``.
    """
    return f"{need}: pip install -e '.[{extra}]' in the project's folder; make setup installs all extras into .venv"
