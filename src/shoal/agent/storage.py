"""The agent's record of its tasks, kept over a restart: a table in a SQLite file. Blocks; called from one thread.

In: tasks as assigned and statuses as they change, in batches, each in one transaction; out: all tasks at the start.
A file with wrong contents raises DamagedState and is never overwritten.
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
    """Record a task as it was assigned. Its status is recorded only if the file has no status of the task yet."""

    task: api.Task


@dataclass(frozen=True, slots=True)
class PutStatus:
    """Record the new status of a task."""

    task_id: str
    status: api.TaskStatus


@dataclass(frozen=True, slots=True)
class Unassign:
    """Record that a task is being removed; its container may still exist."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete a task from the file."""

    task_id: str


Entry = Put | PutStatus | Unassign | Forget


@dataclass(frozen=True, slots=True)
class Remembered:
    """A task with its last status. `assigned` is false when its removal had begun and not ended."""

    task: api.Task
    assigned: bool


class Storage:
    """The open file."""

    def __init__(self, path: Path) -> None:
        """Open the file, or create it. Raises DamagedState, or OSError when file or folder cannot be opened or made."""
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            # Another thread than the one that opened the file may use it, though never two at once.
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
        # A power cut may lose the last statuses, but not damage the file. The manager has the lost ones, or the
        # container tells them again.
        self._connection.execute("pragma journal_mode=wal")
        self._connection.execute("pragma synchronous=normal")
        self._connection.execute("pragma secure_delete=on")
        self._connection.execute(_TABLE)
        self._connection.execute(f"pragma user_version={LAYOUT}")
        self._path.chmod(0o600)

    def load(self) -> list[Remembered]:
        """Return every recorded task with its last status. Raises DamagedState."""
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
        """Write a batch in one transaction. Raises OSError when nothing was written."""
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
