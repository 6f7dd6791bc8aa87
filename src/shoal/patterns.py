"""Regular expressions that somebody else chose: Go's, as Docker reads them, and never slow.

RE2 (which Go's are) takes a time that grows with the text and not with its powers, and says so when an expression is
too large; Python's own `re` tries (a+)+$ for minutes, with the whole daemon waiting. In: an expression and texts, of
anybody's. Out: whether it is found in them.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from shoal.errors import ShoalError

if TYPE_CHECKING:
    import re2

# What RE2 may hold of one expression. Names of containers are matched by the thousand on the event loop: the worst
# expression of this size takes about a millisecond for one of 64 characters, a plain one microseconds.
MAX_BYTES = 24 * 1024
_REMEMBERED = 64  # expressions, of a client that asks again and again


class BadPattern(ShoalError):
    """This is no regular expression, or too large a one."""


def compiled(pattern: str) -> Callable[[str], bool]:
    """Return whether the expression is found in a text, as a function. Raises BadPattern."""
    import re2  # where it is used: the daemon starts without it

    try:
        expression = _compiled(pattern)
    except re2.error as error:
        [reason] = error.args
        raise BadPattern(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from error
    except UnicodeEncodeError as error:
        raise BadPattern("it is no text") from error

    def found(text: str) -> bool:
        return expression.search(text.encode("utf-8", "replace").decode()) is not None

    return found


@lru_cache(maxsize=_REMEMBERED)
def _compiled(pattern: str) -> "re2._Regexp":
    import re2

    options = re2.Options()
    options.max_mem = MAX_BYTES
    options.never_capture = True
    options.log_errors = False
    return re2.compile(pattern, options)
