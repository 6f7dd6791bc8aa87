"""Reads instants in queries: seconds since 1970 with an optional fraction. Source: moby daemon/internal/timestamp."""

import re

from shoal.api import times
from shoal.errors import InvalidArgument


def unix_timestamp(text: str, name: str) -> int:
    """Return nanoseconds since 1970; 0 for an empty text. Raises InvalidArgument with Docker's words."""
    if not text:
        return 0
    seconds, _, fraction = text.partition(".")
    if not re.fullmatch(r"-?[0-9]{1,18}", seconds):
        problem = f'invalid seconds "{seconds}": invalid syntax'
    elif not re.fullmatch(r"[0-9]*", fraction):
        problem = f'invalid nanoseconds "{fraction}": invalid syntax'
    else:
        return int(seconds) * times.NANOS + int((fraction + "000000000")[:9])
    raise InvalidArgument(f'invalid value for {name}: invalid timestamp "{text}": {problem}')
