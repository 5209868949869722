"""The one exception that is shown to the user as a line instead of a traceback."""


class UserError(ValueError):
    """A mistake that the user can mend: the message names what was typed and what would do."""
