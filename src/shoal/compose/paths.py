"""Paths of this host that a compose file names.

All are relative to the folder of the first file, or of the file that is included or extended; `~` is the home folder.
"""

import posixpath
import re

from shoal.compose.kinds import Where

_ELSEWHERE = re.compile(r"[a-z0-9+.-]+://|service:|github\.com/|git@")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def absolute(path: str, where: Where) -> str:
    """Return an absolute path."""
    return joined(where.base, path, where.home)


def joined(base: str, path: str, home: str) -> str:
    """Return a path as it is from a folder."""
    if _WINDOWS.match(path):
        return path
    if path.startswith("/"):
        return path
    if path.startswith("~"):
        path = posixpath.join(home, path[1:].lstrip("/"))
    return posixpath.normpath(posixpath.join(base, path))


def context(path: str, where: Where) -> str:
    """Return a build's context: an absolute path, or something that is nowhere on this host."""
    return path if _ELSEWHERE.match(path) else absolute(path, where)
