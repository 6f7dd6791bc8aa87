"""Compares two pictures, path by path, with the differences that a sequence's file allows."""

from fnmatch import fnmatchcase
from typing import Any

from tests.harness.sequences.files import Difference

NOTHING = "(nothing)"


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return a tree's leaves by their paths. Empty values count as missing, because a client cannot see the
    difference.
    """
    if isinstance(value, dict):
        branches = value.items()
    elif isinstance(value, list):
        branches = {str(number): item for number, item in enumerate(value)}.items()
    else:
        return {} if value is None or value == "" else {path: value}
    found: dict[str, Any] = {}
    for name, item in branches:
        found |= flat(item, f"{path}/{name}" if path else str(name))
    return found


def differences(docker: Any, shoal: Any) -> dict[str, tuple[Any, Any]]:
    """Return what differs: by path, Docker's and ours."""
    theirs, ours = flat(docker), flat(shoal)
    return {
        path: (theirs.get(path, NOTHING), ours.get(path, NOTHING))
        for path in sorted(theirs.keys() | ours.keys())
        if theirs.get(path, NOTHING) != ours.get(path, NOTHING)
    }


def problems(docker: Any, shoal: Any, known: tuple[Difference, ...]) -> list[str]:
    """Return what is wrong: differences that are not known, and known ones that no longer exist."""
    found = differences(docker, shoal)
    wrong = [
        f"{path}: Docker has {theirs!r}, Shoal {ours!r}"
        for path, (theirs, ours) in found.items()
        if not any(fnmatchcase(path, one.at) for one in known)
    ]
    wrong += [
        f"{one.at}: is listed as a difference ({one.reason}), and is none"
        for one in known
        if not any(fnmatchcase(path, one.at) for path in found)
    ]
    return wrong
