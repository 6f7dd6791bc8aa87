"""What the agent remembers of its tasks over a restart: a table in a SQLite file. Blocks; called from one thread.

In: tasks as assigned and statuses as they change, in batches, each one transaction; out: all of it at the start. A
file that does not say what it must is DamagedState, and is never written over.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from shoal.api import v1 as api
from shoal.errors import DamagedState

FILE = "tasks.db"
LAYOUT = 1  # PRAGMA user_version

_TABLE = """
create table if not exists tasks (
    id text primary key, data blob, status blob, assigned integer not null default 1
) without rowid
"""


@dataclass(frozen=True, slots=True)
class Put:
    """Remember a task as it was assigned; its status is remembered apart, and only if none is yet."""

    task: api.Task


@dataclass(frozen=True, slots=True)
class PutStatus:
    """Remember what has become of a task."""

    task_id: str
    status: api.TaskStatus


@dataclass(frozen=True, slots=True)
class Unassign:
    """Note that a task is to be removed; its container may still be there."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Remember a task no more."""

    task_id: str


Entry = Put | PutStatus | Unassign | Forget


@dataclass(frozen=True, slots=True)
class Remembered:
    """A task with its own status. `assigned` is false where a removal was cut short."""

    task: api.Task
    assigned: bool


class Storage:
    """The open file."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. Raises DamagedState, or OSError where the folder cannot be made."""
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            # The one thread that uses it need not be the one that opened it.
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.OperationalError as error:
            raise OSError(f"{path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DamagedState(str(path), str(error)) from error

    def _open(self) -> None:
        layout = self._connection.execute("pragma user_version").fetchone()[0]
        if layout > LAYOUT:
            raise DamagedState(str(self._path), f"its layout {layout} is newer than this program's {LAYOUT}")
        verdict = self._connection.execute("pragma quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise DamagedState(str(self._path), str(verdict))
        # A power cut may lose the last statuses, never the file: the manager has them, or the container tells again.
        self._connection.execute("pragma journal_mode=wal")
        self._connection.execute("pragma synchronous=normal")
        self._connection.execute("pragma secure_delete=on")
        self._connection.execute(_TABLE)
        self._connection.execute(f"pragma user_version={LAYOUT}")
        self._path.chmod(0o600)

    def load(self) -> list[Remembered]:
        """Return every task that is remembered, with its own status. Raises DamagedState."""
        try:
            rows = self._connection.execute("select id, data, status, assigned from tasks order by id").fetchall()
            return [self._read(*row) for row in rows if row[1] is not None]
        except (sqlite3.DatabaseError, DecodeError, TypeError) as error:
            raise DamagedState(str(self._path), str(error)) from error

    def _read(self, task_id: str, data: bytes, status: bytes | None, assigned: int) -> Remembered:
        task = api.Task.FromString(data)
        if task.id != task_id:
            raise DamagedState(str(self._path), f"the entry {task_id} holds another task")
        if status is not None:
            task.status.CopyFrom(api.TaskStatus.FromString(status))
        return Remembered(task, bool(assigned))

    def write(self, entries: Iterable[Entry]) -> None:
        """Write a batch: all of it or, with OSError, nothing."""
        try:
            self._connection.execute("begin immediate")
            try:
                for entry in entries:
                    self._write(entry)
                self._connection.execute("commit")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
        except sqlite3.Error as error:
            raise OSError(f"{self._path} was not written: {error}") from error

    def _write(self, entry: Entry) -> None:
        run = self._connection.execute
        match entry:
            case Put(task):
                bare = api.Task()
                bare.CopyFrom(task)
                bare.ClearField("status")
                run(
                    "insert into tasks (id, data, status, assigned) values (?1, ?2, ?3, 1)"
                    " on conflict (id) do update set data = ?2, status = coalesce(status, ?3), assigned = 1",
                    (task.id, bare.SerializeToString(), task.status.SerializeToString()),
                )
            case PutStatus(task_id, status):
                run("update tasks set status = ? where id = ?", (status.SerializeToString(), task_id))
            case Unassign(task_id):
                run("update tasks set assigned = 0 where id = ?", (task_id,))
            case Forget(task_id):
                run("delete from tasks where id = ?", (task_id,))

    def close(self) -> None:
        """Close the file. May be repeated."""
        self._connection.close()
