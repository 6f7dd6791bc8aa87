"""Regular expressions from clients, in Go's syntax (RE2), as Docker reads them.

RE2 takes time that is linear in the text, and refuses an expression that is too large. Python's own `re` may try
(a+)+$ for minutes while the whole daemon waits. In: an expression and texts, neither of them trusted. Out: whether the
expression is found in a text.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from shoal.errors import ShoalError

if TYPE_CHECKING:
    import re2

# RE2's memory for one expression. Thousands of container names may be matched on the event loop. The worst expression
# of this size takes about 1 ms for a name of 64 characters; an ordinary one takes microseconds.
MAX_BYTES = 24 * 1024
_REMEMBERED = 64  # compiled expressions, for clients that poll


class BadPattern(ShoalError):
    """The text is not a regular expression, or the expression is too large."""


def compiled(pattern: str) -> Callable[[str], bool]:
    """Return a function that says whether the expression is found in a text. Raises BadPattern."""
    import re2  # imported here, because the daemon starts faster without it

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
