import time
from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.api.gen import views_pb2
from shoal.manager.dispatcher.node_states import MAX_DESCRIPTION_BYTES
from shoal.manager.port.allowances import ALLOWANCES, MIB, Rate, Role
from shoal.manager.port.authorization import AUTHORIZATION
from shoal.manager.port.labour import LARGE_MESSAGES, MAX_PARTS, SMALL_MESSAGE_BYTES, Labour, counted, largest, shape_of

REPORT = api.UpdateTaskStatusRequest.DESCRIPTOR


def parts(data: bytes, kind: Any = REPORT, step: int = 10_000_000) -> int:
    *_, last = counted(data, shape_of(kind), step)
    return last


def set_fields(message: Message) -> int:
    """Count the parts of a decoded message, whose fields are not packed."""
    count = 0
    for field, value in message.ListFields():
        for each in value if field.is_repeated else [value]:
            count += 1 + (set_fields(each) if field.message_type else 0)
    return count


def report(tasks: int) -> api.UpdateTaskStatusRequest:
    request = api.UpdateTaskStatusRequest(session_id="s" * 25)
    for number in range(tasks):
        update = request.updates.add(task_id=f"task{number:021d}")
        update.status.state = api.RUNNING
        update.status.timestamp.seconds = 1_900_000_000 + number
        update.status.timestamp.nanos = 5
        update.status.message = "started"
        update.status.container.container_id = "c" * 64
        update.status.container.pid = 12345
        update.status.port_status.ports.add(target_port=80, published_port=8080 + number)
    return request


@given(st.integers(0, 40))
def test_every_field_at_any_depth_is_a_part(tasks: int) -> None:
    request = report(tasks)
    assert parts(request.SerializeToString()) == set_fields(request)


def test_empty_parts_are_counted() -> None:
    assert parts(b"\x1a\x00" * 1000) == 1000  # statuses of nothing
    assert parts(b"\x1a\x02\x12\x00" * 1000) == 2000  # each with an empty status
    assert parts(b"\xfb\x01\xfc\x01" * 1000) == 2000  # groups of a field that nobody knows
    assert parts(b"\xf8\x01\x00" * 1000) == 1000


def test_what_is_no_message_is_one_part_however_long() -> None:
    assert parts(api.UpdateTaskStatusRequest(session_id="\0" * 100_000).SerializeToString()) == 1
    answer = views_pb2.ViewAnswer(views=b"\x0a\x00" * 100_000)
    assert parts(answer.SerializeToString(), views_pb2.ViewAnswer.DESCRIPTOR) == 1


def test_counting_stops_after_each_step_so_that_others_have_a_turn() -> None:
    assert list(counted(b"\x1a\x00" * 25, shape_of(REPORT), 10)) == [10, 20, 25]
    assert list(counted(b"", shape_of(REPORT), 10)) == [0]


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_bytes_are_counted_and_never_fewer_parts_than_are_decoded(data: bytes) -> None:
    found = parts(data)
    assert found <= len(data)
    request = api.UpdateTaskStatusRequest()
    try:
        request.ParseFromString(data)
    except DecodeError:
        return
    assert found >= len(request.updates) + sum(update.HasField("status") for update in request.updates)


def test_what_a_node_really_reports_is_far_from_the_limit() -> None:
    assert parts(report(10_000).SerializeToString()) < MAX_PARTS


def test_an_account_waits_when_its_burst_is_spent_and_is_heard_again() -> None:
    labour = Labour(Rate(1.0, 0.5))
    account = labour.account("node a", 0.0)
    account.spend(0.5, 0.0)
    assert account.wait(0.0) == 0.0
    account.spend(1.0, 0.0)
    assert account.wait(0.0) == pytest.approx(1.0)
    assert "node a" in str(account.refusal(0.0))
    assert "1.0 s" in str(account.refusal(0.0))
    assert labour.account("node a", 0.0) is account
    assert labour.account("node b", 0.0).wait(0.0) == 0.0
    assert account.wait(1.5) == 0.0


def test_who_was_idle_longest_is_forgotten_first() -> None:
    labour = Labour(Rate(1.0, 0.1), remembered=2)
    busy = labour.account("busy", 0.0)
    busy.spend(2.0, 0.0)
    for number in range(10):
        labour.account(f"another {number}", 0.0)
        assert labour.account("busy", 0.0) is busy


def test_a_nodes_messages_are_small_but_for_four_methods() -> None:
    most = ALLOWANCES[Role.WORKER].message_bytes
    assert set(LARGE_MESSAGES) <= set(AUTHORIZATION)
    assert largest("/docker.swarmkit.v1.Dispatcher/Assignments", most) == SMALL_MESSAGE_BYTES
    assert largest("/docker.swarmkit.v1.Dispatcher/UpdateTaskStatus", most) == 4 * MIB
    assert largest("/docker.swarmkit.v1.Dispatcher/Session", most) > MAX_DESCRIPTION_BYTES + 1024
    assert largest("/docker.swarmkit.v1.Control/CreateConfig", most) == most
    assert largest("/docker.swarmkit.v1.NodeCA/IssueNodeCertificate", 1000) == 1000
    assert largest("/no/such", most) == SMALL_MESSAGE_BYTES


def test_counting_is_fast() -> None:
    """It runs on the loop; the time is generous, for machines that do much else."""
    data = report(2_000).SerializeToString()
    began = time.thread_time()
    found = parts(data)
    assert (time.thread_time() - began) / found < 10e-6
