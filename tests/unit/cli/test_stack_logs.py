from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.cli.stack_logs import Line, frames, lines, task_names
from shoal.engine.streams import frame

DETAILS = "com.docker.swarm.node.id=n,com.docker.swarm.service.id=s,com.docker.swarm.task.id=t1"


@given(st.lists(st.tuples(st.integers(1, 2), st.binary(max_size=20)), max_size=5), st.integers(1, 30))
def test_frames_come_however_the_bytes_do(sent: list[tuple[int, bytes]], length: int) -> None:
    data = b"".join(frame(stream, text) for stream, text in sent)

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(data), length):
            yield data[at : at + length]

    assert list(frames(chunks())) == sent


def test_a_frame_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="a frame of"):
        list(frames([b"\1\0\0\0\xff\xff\xff\xff"]))


def test_lines_name_their_task_and_sort_by_time() -> None:
    found = list(
        lines([(1, f"2 {DETAILS} two words\n".encode()), (2, f"1 {DETAILS} \xff".encode())], {"t1": "s_web.1"})
    )
    assert found == [Line("2", "s_web.1", "two words"), Line("1", "s_web.1", "\xff", True)]
    assert [each.is_error for each in sorted(found)] == [True, False]
    assert list(lines([(1, b"")], {})) == [Line("", "", "")]


def test_tasks_are_called_by_slot_or_node() -> None:
    tasks: list[dict[str, Any]] = [
        {"ID": "t1", "ServiceID": "s", "Slot": 2},
        {"ID": "t2", "ServiceID": "s", "NodeID": "n"},
    ]
    assert task_names(tasks, [{"ID": "s", "Spec": {"Name": "web"}}]) == {"t1": "web.2", "t2": "web.n"}
