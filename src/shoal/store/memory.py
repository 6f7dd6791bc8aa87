"""The swarm in memory: `View` to read, `Memory` to hold, `Transaction` to stage changes over either.

Pure: the time and the revision that a commit will have are arguments. A transaction sees its own changes and touches
nothing until `Memory.commit`. Making a commit durable before that is `store`'s part.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from shoal.api import times
from shoal.api import v1 as api
from shoal.errors import Conflict, InvariantBroken, NotFound, OutOfSequence
from shoal.store.changes import Change, Create, Event, Kind, Object, Remove, Update, copy
from shoal.store.tables import KINDS, NAME, MemoryTable, StagedTable, Table

__all__ = ["Event", "Memory", "Table", "Transaction", "View"]

_T = TypeVar("_T", bound=Object)
_MAY_SHARE_NAMES = (api.Node, api.Task)


class View:
    """The objects of the swarm, consistent until the reader next awaits."""

    def __init__(self, tables: Mapping[type, Table[Any]], revision: int) -> None:
        self._tables = tables
        self.revision = revision
        """The store's revision of the newest change in the view."""
        self.nodes: Table[api.Node] = tables[api.Node]
        self.services: Table[api.Service] = tables[api.Service]
        self.tasks: Table[api.Task] = tables[api.Task]
        self.networks: Table[api.Network] = tables[api.Network]
        self.clusters: Table[api.Cluster] = tables[api.Cluster]
        self.secrets: Table[api.Secret] = tables[api.Secret]
        self.configs: Table[api.Config] = tables[api.Config]

    def table(self, kind: type[_T]) -> Table[_T]:
        """Return the table of a kind."""
        return self._tables[kind]


class Memory(View):
    """The view that holds the objects. Only `load`, `commit` and `follow` change it."""

    def __init__(self, revision: int = 0) -> None:
        self._held: dict[type, MemoryTable[Any]] = {kind: MemoryTable(kind) for kind in KINDS}
        super().__init__(self._held, revision)

    @classmethod
    def of(cls, objects: Iterable[Object], revision: int = 0) -> "Memory":
        """Return a memory of these objects as they are, for simulations and tests."""
        memory = cls(revision)
        for obj in objects:
            memory.load(obj)
        return memory

    def load(self, obj: Object) -> None:
        """Add an object that is durable already, with its version."""
        self._held[type(obj)].put(obj)

    def commit(self, transaction: "Transaction") -> list[Event]:
        """Apply the changes of a transaction over this memory, and return their events in order of first touch.

        The transaction must not be used any more: the memory now holds its objects.
        """
        events: list[Event] = []
        for kind, id in transaction.touched():  # noqa: A001
            table, obj = self._held[kind], transaction.table(kind).get(id)
            if obj is None:
                old = table.discard(id)
                if old is not None:
                    events.append(Event("remove", old, old))
            else:
                old = table.put(obj)
                events.append(Event("create" if old is None else "update", obj, old))
        self.revision = transaction.version
        return events

    def follow(self, changes: Iterable[tuple[Kind, str, Object | None]], revision: int) -> list[Event]:
        """Apply changes that another manager made durable (None: removed), and return their events in order.

        May be repeated: an object that the memory has in the same version makes no event.
        """
        events: list[Event] = []
        for kind, id, obj in changes:  # noqa: A001
            old = self._held[kind].get(id)
            if obj is None:
                if old is not None:
                    self._held[kind].discard(id)
                    events.append(Event("remove", old, old))
            elif old is None:
                events.append(Event("create", obj, None))
                self._held[kind].put(obj)
            elif old.meta.version.index != obj.meta.version.index:
                events.append(Event("update", obj, old))
                self._held[kind].put(obj)
        self.revision = revision
        return events


class Transaction(View):
    """Staged changes over a view, which nobody else sees. The view must not change while the transaction is used."""

    def __init__(self, base: View, *, version: int | None = None, now_nanos: int = 0) -> None:
        self._base = base
        self._staged: dict[type, StagedTable[Any]] = {kind: StagedTable(kind, base.table(kind)) for kind in KINDS}
        self._touched: dict[tuple[type, str], None] = {}  # an ordered set
        self.version = base.revision + 1 if version is None else version
        """The `meta.version.index` of changed objects: the revision that the commit will have."""
        self._now = times.timestamp_from_nanos(now_nanos)
        super().__init__(self._staged, base.revision)

    def create(self, obj: _T) -> _T:
        """Stage a new object, and return it as it will be stored. Raises Conflict if its id or name is taken."""
        table = self._staged[type(obj)]
        if table.get(obj.id) is not None:
            raise Conflict("object already exists")
        self._check_name(obj)
        fresh = copy(obj)
        fresh.meta.created_at.CopyFrom(self._now)
        return self._put(fresh)

    def update(self, obj: _T) -> _T:
        """Stage a new value for an object, and return it as it will be stored.

        Raises NotFound, Conflict, or OutOfSequence if `meta.version.index` is not the present one. An object that this
        transaction, or one that is committed together with it, has changed already has a new version.
        """
        old = self._replaced(obj, obj.id)
        fresh = copy(obj)
        fresh.meta.created_at.CopyFrom(old.meta.created_at)
        return self._put(fresh)

    def adopt(self, obj: _T) -> _T:
        """Stage a new value without copying it, and return the one that it replaces.

        The caller must not change `obj` afterwards. Raises the errors of `update`.
        """
        id = obj.id  # noqa: A001 - read once, because every change of a decider passes here
        old = self._replaced(obj, id)
        if old is obj:
            raise InvariantBroken("what the store holds was given to it as a new value")
        self._put_as(id, obj)
        return old

    def remove(self, kind: Kind, id: str) -> None:  # noqa: A002 - the word is Swarm's
        """Stage the removal of an object. Raises NotFound."""
        table = self._staged[kind]
        if table.get(id) is None:
            raise NotFound("object does not exist")
        table.discard(id)
        self._touched[kind, id] = None

    def apply(self, changes: Iterable[Change]) -> None:
        """Stage changes in order. Raises the error of the first impossible one; those before it stay staged."""
        for change in changes:
            match change:
                case Create(obj):
                    self.create(obj)
                case Update(obj):
                    self.update(obj)
                case Remove(kind, id):
                    self.remove(kind, id)

    def events(self) -> list[Event]:
        """Return the events of the staged changes, at most one for each object, in order of first touch."""
        found: list[Event] = []
        for kind, id in self._touched:  # noqa: A001
            old, obj = self._base.table(kind).get(id), self._staged[kind].get(id)
            if obj is None:
                if old is not None:
                    found.append(Event("remove", old, old))
            elif old is None:
                found.append(Event("create", obj, None))
            else:
                found.append(Event("update", obj, old))
        return found

    def is_empty(self) -> bool:
        """Return whether nothing was staged."""
        return not self._touched

    def touched(self) -> Iterable[tuple[type, str]]:
        """Return kind and id of all staged objects, in order of first touch."""
        return self._touched

    def settle(self, revision: int) -> None:
        """Set the version of the staged objects to the revision that the commit got, if it is not the expected one."""
        if revision == self.version:
            return
        self.version = revision
        for kind, id in self._touched:  # noqa: A001
            obj = self._staged[kind].get(id)
            if obj is not None:
                obj.meta.version.index = revision

    def merge(self, above: "Transaction") -> None:
        """Add the changes of a transaction over this one, which must not be used any more."""
        for kind, id in above._touched:  # noqa: A001
            obj = above._staged[kind].get(id)
            if obj is None:
                self._staged[kind].discard(id)
            else:
                self._staged[kind].put_as(id, obj)
            self._touched[kind, id] = None

    def _replaced(self, obj: _T, id: str) -> _T:  # noqa: A002
        """Return the value that a new value replaces. Raises NotFound, OutOfSequence, Conflict."""
        old: _T | None = self._staged[type(obj)].get(id)
        if old is None:
            raise NotFound("object does not exist")
        if obj.meta.version.index != old.meta.version.index:
            raise OutOfSequence
        self._check_name(obj)
        return old

    def _put(self, fresh: _T) -> _T:
        self._put_as(fresh.id, fresh)
        return fresh

    def _put_as(self, id: str, fresh: _T) -> None:  # noqa: A002
        kind, meta = type(fresh), fresh.meta
        meta.version.index = self.version
        meta.updated_at.CopyFrom(self._now)
        self._staged[kind].put_as(id, fresh)
        self._touched[kind, id] = None

    def _check_name(self, obj: Object) -> None:
        if isinstance(obj, _MAY_SHARE_NAMES):
            return
        name = obj.spec.annotations.name
        if any(other.id != obj.id for other in self._staged[type(obj)].find(NAME, name)):
            taken = "name conflicts with an existing object"
            # Docker names the object for services alone: swarmkit manager/controlapi/service.go.
            raise Conflict(f"{taken}: service {name} already exists" if isinstance(obj, api.Service) else taken)
