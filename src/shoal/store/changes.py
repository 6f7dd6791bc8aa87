"""The changes of objects in the store, and the events that watchers get. Values only; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from google.protobuf.message import Message

from shoal.api import v1 as api

Object = api.Node | api.Service | api.Task | api.Network | api.Cluster | api.Secret | api.Config
Kind = type[Object]
Action = Literal["create", "update", "remove"]

_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True, slots=True)
class Create:
    """A new object, with an id that no object of its kind has."""

    obj: Object


@dataclass(frozen=True, slots=True)
class Update:
    """A new value for the object with this id; `meta.version` must be the stored one."""

    obj: Object


@dataclass(frozen=True, slots=True)
class Remove:
    """The removal of an object, whatever its version."""

    kind: Kind
    id: str


Change = Create | Update | Remove
Changes = Iterable[Change]


class Event(NamedTuple):
    """One object differs after a commit. `old` is None for a create; `obj` is the last value for a remove."""

    action: Action
    obj: Object
    old: Object | None


def copy(obj: _M) -> _M:
    """Return a copy that the caller may change. Objects from the store are shared and must not be changed."""
    fresh = type(obj)()
    fresh.CopyFrom(obj)
    return fresh
