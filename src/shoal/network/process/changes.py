"""What changed in a wanted state, as `shoald` tells it: the overlays and containers that are others now. Pure.

A connection begins with a whole `Wanted`; each change then stands on the last one of the same connection, which both
sides have. What cannot be told so is told whole. Fields of `Wanted` that only one side knows are as with a whole one:
ignored, or at their default.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

from shoal.errors import InvalidArgument
from shoal.network.wanted import Wanted, hints, plain, read

# Fields that are lists, and what tells one item from another. All other fields are told whole when they change.
KEYED = {"overlays": "id", "sandboxes": "container"}


def change(former: Wanted, wanted: Wanted) -> bytes | None:
    """Return what leads from one to the other, as JSON; None where that must be told whole.

    {"base": revision, "revision": revision, a field: its value, a list: {"gone": [ids], "set": [items]}}.
    """
    told: dict[str, Any] = {"base": former.revision, "revision": wanted.revision}
    for name in hints(Wanted):
        before, after = getattr(former, name), getattr(wanted, name)
        if name == "revision" or before is after:
            continue
        if name in KEYED:
            items = _items(KEYED[name], before, after)
            if items is None:
                return None
            if any(items.values()):
                told[name] = items
        elif before != after:
            told[name] = plain(after)
    return json.dumps(told, separators=(",", ":")).encode()


def _items(key: str, before: Sequence[Any], after: Sequence[Any]) -> dict[str, list[Any]] | None:
    former = {getattr(one, key): one for one in before}
    now = {getattr(one, key): one for one in after}
    kept, new = [one for one in former if one in now], [one for one in now if one not in former]
    if len(former) != len(before) or len(now) != len(after) or [*kept, *new] != list(now):
        return None  # two have one id, or the order is another
    return {
        "gone": [one for one in former if one not in now],
        "set": [plain(item) for one, item in now.items() if one not in former or not _same(former[one], item)],
    }


def _same(one: object, other: object) -> bool:
    return one is other or one == other


def changed(former: Wanted | None, text: bytes) -> Wanted:
    """Return what is wanted after a change; what did not change is the same object. InvalidArgument.

    An item that was there keeps its place, a new one comes to the end.
    """
    told = _object(text)
    if former is None or told.get("base") != former.revision:
        raise InvalidArgument("a change of a wanted state that was not told here")
    given = {"revision": read(int, told.get("revision"), "revision")}
    for name, kind in hints(Wanted).items():
        if name not in told or name == "revision":
            continue
        if name in KEYED:
            given[name] = _merged(name, get_args(kind)[0], getattr(former, name), told[name])
        else:
            given[name] = read(kind, told[name], name)
    return replace(former, **given)


def _object(text: bytes) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"not JSON: {error}") from error
    if not isinstance(told, dict):
        raise InvalidArgument("a change: an object was expected")
    return told


def _merged(name: str, kind: type, former: Sequence[Any], told: object) -> tuple[Any, ...]:
    if not isinstance(told, dict):
        raise InvalidArgument(f"{name}: an object was expected")
    key = KEYED[name]
    items = {getattr(one, key): one for one in former}
    for gone in read(tuple[str, ...], told.get("gone", []), f"{name}.gone"):
        items.pop(gone, None)
    for one in read(tuple[kind, ...], told.get("set", []), f"{name}.set"):  # type: ignore[valid-type]
        items[getattr(one, key)] = one
    return tuple(items.values())
