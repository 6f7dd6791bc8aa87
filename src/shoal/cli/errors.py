"""The error that ends a command: the user reads one line on standard error, and the exit code is 1."""


class CommandError(Exception):
    """A command failed. The text is the line for the user, without the program's name."""


class Refused(CommandError):
    """The daemon answered that it will not do it; `status` is HTTP's."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def reason(error: OSError) -> str:
    """Return the system's reason, with a lower-case first letter, for use inside a line."""
    if error.strerror is None:
        return str(error)
    return error.strerror[:1].lower() + error.strerror[1:]
