"""What a process that is started again knows of others, until gossip has told it."""

from pathlib import Path

import pytest

from shoal.network.process import memory
from shoal.network.process.memory import HOLD, SILENT, Memory
from shoal.network.records import ENDPOINTS, PEERS, Changed, End


def told(
    key: str,
    value: bytes | None,
    *,
    owner: str = "other",
    network: str = "blue",
    table: str = ENDPOINTS,
    end: End = "deleted",
) -> Changed:
    return Changed(table, network, key, owner, None, value, end)


def run_with(*changes: Changed) -> bytes:
    last = Memory()
    assert last.hear(changes, "me", 0.0) == list(changes)
    return last.text()


def test_the_next_run_knows_what_others_had_written_and_forgets_what_is_not_confirmed() -> None:
    text = run_with(told("a", b"1"), told("b", b"2"), told("mine", b"3", owner="me"), told("c", b"4"), told("c", None))
    now = Memory()
    assert {(change.key, change.value) for change in now.recall(text, ["blue"], 0.0)} == {("a", b"1"), ("b", b"2")}
    now.hear([told("a", b"1")], "me2", 1.0)
    assert now.forget(HOLD - 1) == []
    assert now.waits
    assert [(change.key, change.former, change.value) for change in now.forget(HOLD)] == [("b", b"2", None)]
    assert now.forget(2 * HOLD) == []
    assert not now.waits


def test_what_a_node_had_written_holds_while_its_process_is_started_again() -> None:
    memory = Memory()
    memory.hear([told("a", b"1"), told("b", b"2")], "me", 0.0)
    assert memory.hear([told("a", None, end="replaced"), told("b", None, end="replaced")], "me", 10.0) == []
    again = told("a", b"1", owner="its successor")
    assert memory.hear([again], "me", 11.0) == [again]
    assert [change.key for change in memory.forget(10.0 + HOLD)] == ["b"]
    # A second start soon after finds both in the file.
    assert {change.key for change in Memory().recall(memory.text(), ["blue"], 0.0)} == {"a"}


def test_the_places_of_a_silent_nodes_containers_are_kept_for_a_while() -> None:
    memory = Memory()
    memory.hear([told("e", b"1"), told("e", b"2", table=PEERS)], "me", 0.0)
    silent = [told("e", None, end="silent"), told("e", None, table=PEERS, end="silent")]
    assert memory.hear(silent, "me", 10.0) == silent  # the directory knows what to do with either
    assert memory.forget(9.0 + SILENT) == []
    assert [(change.table, change.end) for change in memory.forget(10.0 + SILENT)] == [(PEERS, "deleted")]


def test_one_that_was_deleted_is_gone_at_once_also_while_it_is_held() -> None:
    memory = Memory()
    memory.hear([told("a", b"1")], "me", 0.0)
    memory.hear([told("a", None, end="replaced")], "me", 1.0)
    memory.hear([told("a", b"1")], "me", 2.0)
    gone = told("a", None)
    assert memory.hear([gone], "me", 3.0) == [gone]
    assert not memory.waits


def test_one_that_is_killed_before_gossip_told_it_passes_on_what_it_was_left() -> None:
    now = Memory()
    now.recall(run_with(told("a", b"1")), ["blue"], 0.0)
    assert [change.key for change in Memory().recall(now.text(), ["blue"], 0.0)] == ["a"]


def test_networks_that_it_is_not_on_are_none_of_its_business() -> None:
    assert Memory().recall(run_with(told("a", b"1", network="red")), ["blue"], 0.0) == []


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'[["a","b","c","zz"]]', b'[["a"]]', b"[" * 100_000])
def test_a_file_that_cannot_be_read_is_as_none(text: bytes) -> None:
    assert Memory().recall(text, ["blue"], 0.0) == []


def test_it_is_kept_in_a_file_of_its_users_own(tmp_path: Path) -> None:
    assert memory.load(tmp_path) == b"[]"
    memory.keep(tmp_path, b"[1]")
    assert memory.load(tmp_path) == b"[1]"
    assert ((tmp_path / memory.FILE).stat().st_mode & 0o777) == 0o600
