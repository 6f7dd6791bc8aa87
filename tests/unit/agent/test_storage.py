"""What the agent remembers."""

import sqlite3
from pathlib import Path

import pytest

from shoal.agent.storage import Forget, Put, PutStatus, Remembered, Storage, Unassign
from shoal.api import v1 as api
from shoal.errors import DamagedState
from tests.unit.agent.fakes import task


def reopened(path: Path) -> list[Remembered]:
    storage = Storage(path)
    try:
        return storage.load()
    finally:
        storage.close()


def test_tasks_are_remembered_with_their_own_status(tmp_path: Path) -> None:
    path = tmp_path / "worker" / "tasks.db"
    storage = Storage(path)
    storage.write(
        [Put(task("t1")), PutStatus("t1", api.TaskStatus(state=api.RUNNING)), Put(task("t2")), Put(task("t3"))]
    )
    storage.write([Put(task("t1", desired=api.SHUTDOWN)), Unassign("t2"), Forget("t3")])
    storage.close()
    assert reopened(path) == [
        Remembered(task("t1", state=api.RUNNING, desired=api.SHUTDOWN), True),
        Remembered(task("t2"), False),
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_status_of_an_unknown_task_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    storage = Storage(path)
    storage.write([PutStatus("t1", api.TaskStatus(state=api.RUNNING))])
    storage.close()
    assert reopened(path) == []


def test_a_write_that_fails_leaves_the_old_state_whole(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    storage = Storage(path)
    storage.write([Put(task("t1"))])
    pages = storage._connection.execute("pragma page_count").fetchone()[0]
    storage._connection.execute(f"pragma max_page_count={pages}")  # a full disk
    big = task("t2")
    big.spec.container.env.append("x" * 100_000)
    with pytest.raises(OSError, match=r"tasks\.db was not written: database or disk is full"):
        storage.write([PutStatus("t1", api.TaskStatus(state=api.RUNNING)), Put(big)])
    assert storage.load() == [Remembered(task("t1"), True)]
    storage.close()


def test_a_file_that_is_no_database_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    path.write_bytes(b"not a database at all" * 100)
    before = path.read_bytes()
    with pytest.raises(DamagedState, match=r"tasks\.db is damaged"):
        Storage(path)
    assert path.read_bytes() == before


def test_an_entry_that_is_no_task_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    Storage(path).close()
    database = sqlite3.connect(path)
    database.execute("insert into tasks values ('t1', x'ff', null, 1)")
    database.commit()
    database.close()
    with pytest.raises(DamagedState):
        reopened(path)


def test_a_file_of_a_newer_program_is_left(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    Storage(path).close()
    database = sqlite3.connect(path)
    database.execute("pragma user_version=99")
    database.close()
    with pytest.raises(DamagedState, match="newer"):
        Storage(path)
