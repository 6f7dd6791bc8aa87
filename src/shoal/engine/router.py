"""Finds the handler for a method and a path, after removing the API version from the path.

aiohttp's own router tries one regular expression after another. With over a hundred routes, each also with a version,
that costs more than most handlers. Here a path is looked up by its first word, and only routes with parameters are
matched by expressions.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NoReturn

from aiohttp import web

from shoal.engine.requests import Call
from shoal.errors import InvalidArgument

Handler = Callable[[Call], Awaitable[web.StreamResponse]]
Route = tuple[str, str, Handler]

MIN_API = 24
MAX_API = 50

_VERSION = re.compile(r"/v([0-9.]+)(/.*)", re.DOTALL)
_NO_PARAMETERS: Mapping[str, str] = {}


def split_version(path: str) -> tuple[str, str]:
    """Return the version at the beginning of a path, or an empty text, and the rest of the path."""
    match = _VERSION.fullmatch(path)
    return (match[1], match[2]) if match else ("", path)


def api_minor(version: str) -> int:
    """Return the minor number of a client's API version. Raises InvalidArgument if it is not supported."""
    if not version:
        return MAX_API
    numbers = tuple(int(part) if part else 0 for part in version[:32].split("."))
    padded = (*numbers, 0)[:2]
    if padded < (1, MIN_API):
        _refuse(version, "old. Minimum", MIN_API, ", please upgrade your client to a newer version")
    if padded > (1, MAX_API):
        _refuse(version, "new. Maximum", MAX_API, "")
    return padded[1]


def _refuse(version: str, how: str, bound: int, advice: str) -> NoReturn:
    raise InvalidArgument(f"client version {version} is too {how} supported API version is 1.{bound}{advice}")


class Router:
    """The routes. A parameter `{name}` stands for one word of the path, `{name:.*}` for one or more."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._exact: dict[tuple[str, str], Handler] = {}
        self._patterns: dict[tuple[str, str], list[tuple[re.Pattern[str], Handler]]] = {}
        for method, path, handler in routes:
            self._add(method, path, handler)

    def _add(self, method: str, path: str, handler: Handler) -> None:
        if "{" not in path:
            if (method, path) in self._exact:
                raise ValueError(f"{method} {path} has two handlers")
            self._exact[method, path] = handler
            return
        parts = re.split(r"\{(\w+)(:\.\*)?\}", path)
        pattern = "".join(
            re.escape(parts[i])
            + (f"(?P<{parts[i + 1]}>{'.+' if parts[i + 2] else '[^/]+'})" if i + 1 < len(parts) else "")
            for i in range(0, len(parts), 3)
        )
        self._patterns.setdefault((method, _first_word(path)), []).append((re.compile(pattern, re.DOTALL), handler))

    def find(self, method: str, path: str) -> tuple[Handler, Mapping[str, str]] | None:
        """Return the handler of a path without version, and its parameters."""
        handler = self._exact.get((method, path))
        if handler is not None:
            return handler, _NO_PARAMETERS
        for pattern, candidate in self._patterns.get((method, _first_word(path)), ()):
            match = pattern.fullmatch(path)
            if match:
                return candidate, match.groupdict()
        return None


def _first_word(path: str) -> str:
    return path[1:].partition("/")[0]
