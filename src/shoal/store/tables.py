"""Objects of one kind with their indexes: `MemoryTable` holds them, `StagedTable` shows changes over another table.

Pure. Indexes are updated with each change. So the cost of a look-up depends only on its result, and the cost of a
change only on the objects that it touches. `memory` decides what may be put in, and when.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import chain
from typing import Any, Generic, TypeVar

from shoal.api import v1 as api
from shoal.store.changes import Kind, Object

T = TypeVar("T", bound=Object)
KeyOf = Callable[[Any], Hashable]

NAME = "name"

# The indexes of each kind. Names are in lower case, because Swarm ignores case; a node's name is its host name.
INDEXES: dict[Kind, dict[str, KeyOf]] = {
    api.Node: {
        NAME: lambda node: node.description.hostname.lower(),
        "role": lambda node: node.role,
        # `came`: whether the node ever registered. `absent_from`: the host from which an unregistered node joined.
        "came": lambda node: node.HasField("description"),
        "absent_from": lambda node: None if node.HasField("description") else node.status.addr,
    },
    api.Service: {NAME: lambda service: service.spec.annotations.name.lower()},
    api.Task: {
        "service_id": lambda task: task.service_id,
        "node_id": lambda task: task.node_id,
        "slot": lambda task: (task.service_id, task.slot),
    },
    api.Network: {NAME: lambda network: network.spec.annotations.name.lower()},
    api.Cluster: {NAME: lambda cluster: cluster.spec.annotations.name.lower()},
    api.Secret: {NAME: lambda secret: secret.spec.annotations.name.lower()},
    api.Config: {NAME: lambda config: config.spec.annotations.name.lower()},
}
KINDS: tuple[Kind, ...] = tuple(INDEXES)


def _keys_of_task(task: api.Task) -> tuple[Hashable, ...]:
    service_id = task.service_id
    return service_id, task.node_id, (service_id, task.slot)


def _all_keys(kind: Kind) -> Callable[[Any], tuple[Hashable, ...]]:
    """Return a function that returns all keys of an object, in the order of `INDEXES`. For tasks it is a fast one."""
    if kind is api.Task:
        return _keys_of_task
    keys = tuple(INDEXES[kind].values())
    return lambda obj: tuple([key_of(obj) for key_of in keys])


class Table(ABC, Generic[T]):
    """Objects of one kind, for reading. Returned objects are shared; copy one before changing it."""

    __slots__ = ()

    @abstractmethod
    def get(self, id: str) -> T | None:  # noqa: A002 - the word is Swarm's
        """Return the object with this id, or None."""

    @abstractmethod
    def all(self) -> Iterable[T]:
        """Return all objects, in no order. The table must not change during the iteration."""

    @abstractmethod
    def find(self, index: str, key: Hashable) -> list[T]:
        """Return the objects with this key, in no order.

        Names match in any case. Raises KeyError for an unknown index.
        """

    @abstractmethod
    def __len__(self) -> int: ...


class MemoryTable(Table[T]):
    """A table that holds its objects."""

    __slots__ = ("_indexes", "_keys_of", "_objects", "_parts")

    def __init__(self, kind: Kind) -> None:
        self._objects: dict[str, T] = {}
        # For each index, the ids with each key. They are ids, not objects, because most changes leave all keys as they
        # are, and then the indexes need not be touched.
        self._indexes: dict[str, dict[Hashable, dict[str, None]]] = {index: {} for index in INDEXES[kind]}
        self._parts = list(self._indexes.values())
        self._keys_of = _all_keys(kind)

    def get(self, id: str) -> T | None:  # noqa: A002
        """Return the object with this id."""
        return self._objects.get(id)

    def all(self) -> Iterable[T]:
        """Return every object."""
        return self._objects.values()

    def find(self, index: str, key: Hashable) -> list[T]:
        """Return the objects with this key."""
        ids = self._indexes[index].get(_folded(index, key))
        objects = self._objects
        return [objects[id] for id in ids] if ids else []  # noqa: A001

    def __len__(self) -> int:
        return len(self._objects)

    def put(self, obj: T) -> T | None:
        """Add or replace an object, and return the one that it replaces, or None."""
        id = obj.id  # noqa: A001 - read once, because every commit does this for every object
        old = self._objects.get(id)
        self._objects[id] = obj
        keys = self._keys_of(obj)
        if old is None:
            for ids_of, key in zip(self._parts, keys, strict=True):
                _list(ids_of, key, id)
            return None
        old_keys = self._keys_of(old)
        if old_keys != keys:
            for ids_of, key, old_key in zip(self._parts, keys, old_keys, strict=True):
                if old_key != key:
                    _unlist(ids_of, old_key, id)
                    _list(ids_of, key, id)
        return old

    def discard(self, id: str) -> T | None:  # noqa: A002
        """Remove the object with this id, and return it, or None."""
        old = self._objects.pop(id, None)
        if old is not None:
            for ids_of, key in zip(self._parts, self._keys_of(old), strict=True):
                _unlist(ids_of, key, id)
        return old


def _list(ids_of: dict[Hashable, dict[str, None]], key: Hashable, id: str) -> None:  # noqa: A002
    ids = ids_of.get(key)
    if ids is None:
        ids_of[key] = {id: None}
    else:
        ids[id] = None


def _unlist(ids_of: dict[Hashable, dict[str, None]], key: Hashable, id: str) -> None:  # noqa: A002
    ids = ids_of[key]
    del ids[id]
    if not ids:
        del ids_of[key]


class StagedTable(Table[T]):
    """A table with some changes over another table, which must not change meanwhile.

    What was changed is only put into indexes when somebody searches: most changes are told, encoded and committed, and
    nobody looks for them by a key before that.
    """

    __slots__ = ("_base", "_kind", "_listed", "_staged", "_unlisted")

    def __init__(self, kind: Kind, base: Table[T]) -> None:
        self._kind = kind
        self._base = base
        self._staged: dict[str, T | None] = {}  # by id; None: removed
        self._listed: MemoryTable[T] | None = None  # those of `_staged` that are in indexes
        self._unlisted: dict[str, None] = {}  # ids of `_staged` that changed since the last search

    def get(self, id: str) -> T | None:  # noqa: A002
        """Return the object with this id."""
        if id in self._staged:
            return self._staged[id]
        return self._base.get(id)

    def all(self) -> Iterable[T]:
        """Return all objects; those changed here come last."""
        if not self._staged:
            return self._base.all()
        return chain(self._visible(self._base.all()), (obj for obj in self._staged.values() if obj is not None))

    def find(self, index: str, key: Hashable) -> list[T]:
        """Return the objects with this key."""
        found = self._base.find(index, key)
        if not self._staged:
            return found
        return list(self._visible(found)) + self._list_staged().find(index, key)

    def __len__(self) -> int:
        base = self._base
        return len(base) + sum((obj is not None) - (base.get(id) is not None) for id, obj in self._staged.items())  # noqa: A001

    def put(self, obj: T) -> None:
        """Add or replace an object."""
        self.put_as(obj.id, obj)

    def put_as(self, id: str, obj: T) -> None:  # noqa: A002
        """Add or replace an object with this id, for a caller who has read the id already."""
        self._staged[id] = obj
        self._unlisted[id] = None

    def discard(self, id: str) -> None:  # noqa: A002
        """Remove the object with this id."""
        self._staged[id] = None
        self._unlisted[id] = None

    def _list_staged(self) -> MemoryTable[T]:
        """Return the staged objects with their indexes."""
        listed = self._listed
        if listed is None:
            listed = self._listed = MemoryTable(self._kind)
        for id in self._unlisted:  # noqa: A001
            obj = self._staged[id]
            if obj is None:
                listed.discard(id)
            else:
                listed.put(obj)
        self._unlisted.clear()
        return listed

    def _visible(self, objects: Iterable[T]) -> Iterator[T]:
        return (obj for obj in objects if obj.id not in self._staged)


def _folded(index: str, key: Hashable) -> Hashable:
    return key.lower() if index == NAME and isinstance(key, str) else key
