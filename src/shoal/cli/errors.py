"""What the user reads when a command fails: one line on standard error; the exit code is 1."""


class CommandError(Exception):
    """A command came to nothing. The text is the line, without the program's name."""


def reason(error: OSError) -> str:
    """Return why the system refused, as it reads in the middle of a line."""
    if error.strerror is None:
        return str(error)
    return error.strerror[:1].lower() + error.strerror[1:]
