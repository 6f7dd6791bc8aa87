"""What a process that is started again knows of others, until gossip has told it."""

from pathlib import Path

import pytest

from shoal.network.process import memory
from shoal.network.process.memory import Memory
from shoal.network.records import Changed


def told(key: str, value: bytes | None, *, owner: str = "other", network: str = "blue") -> Changed:
    return Changed("table", network, key, owner, None, value)


def run_with(*changes: Changed) -> bytes:
    last = Memory()
    assert last.hear(changes, "me") == list(changes)
    return last.text()


def test_the_next_run_knows_what_others_had_written_and_forgets_what_is_not_confirmed() -> None:
    text = run_with(told("a", b"1"), told("b", b"2"), told("mine", b"3", owner="me"), told("c", b"4"), told("c", None))
    now = Memory()
    assert {(change.key, change.value) for change in now.recall(text, ["blue"])} == {("a", b"1"), ("b", b"2")}
    now.hear([told("a", b"1")], "me2")
    assert [(change.key, change.value) for change in now.forget()] == [("b", None)]
    assert now.forget() == []


def test_one_that_is_killed_before_gossip_told_it_passes_on_what_it_was_left() -> None:
    now = Memory()
    now.recall(run_with(told("a", b"1")), ["blue"])
    assert [change.key for change in Memory().recall(now.text(), ["blue"])] == ["a"]


def test_networks_that_it_is_not_on_are_none_of_its_business() -> None:
    assert Memory().recall(run_with(told("a", b"1", network="red")), ["blue"]) == []


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'[["a","b","c","zz"]]', b'[["a"]]', b"[" * 100_000])
def test_a_file_that_cannot_be_read_is_as_none(text: bytes) -> None:
    assert Memory().recall(text, ["blue"]) == []


def test_it_is_kept_in_a_file_of_its_users_own(tmp_path: Path) -> None:
    assert memory.load(tmp_path) == b"[]"
    memory.keep(tmp_path, b"[1]")
    assert memory.load(tmp_path) == b"[1]"
    assert ((tmp_path / memory.FILE).stat().st_mode & 0o777) == 0o600
