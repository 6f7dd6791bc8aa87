"""What is written about a node, in SwarmKit's texts."""

import pytest

from shoal.api import v1 as api
from shoal.errors import InvalidArgument
from shoal.manager.dispatcher.node_states import (
    MAX_DESCRIPTION_BYTES,
    described,
    host_of,
    orphan,
    ready,
    sent_away,
    silent,
    unknown,
)


def node(state: api.NodeStatus.State, message: str = "") -> api.Node:
    return api.Node(id="n1", status=api.NodeStatus(state=state, message=message, addr="10.0.0.1"))


def test_the_moves_of_a_nodes_status() -> None:
    up = node(api.NodeStatus.READY)
    assert silent(up, was_here=True) == node(api.NodeStatus.DOWN, "heartbeat failure")
    assert silent(up, was_here=False) == node(api.NodeStatus.DOWN, 'heartbeat failure for node in "unknown" state')
    assert silent(node(api.NodeStatus.DOWN), was_here=False) is None
    moved = 'Node moved to "unknown" state due to leadership change in cluster'
    assert unknown(up) == node(api.NodeStatus.UNKNOWN, moved)
    assert unknown(node(api.NodeStatus.DOWN)) is None
    away = "node is currently trying to find new manager"
    assert sent_away(up) == node(api.NodeStatus.DISCONNECTED, away)
    assert sent_away(node(api.NodeStatus.UNKNOWN)) is None
    described = ready(node(api.NodeStatus.DOWN, "x"), api.NodeDescription(hostname="h"), "10.0.0.2")
    assert described is not None
    assert (described.status.addr, described.status.message, described.description.hostname) == ("10.0.0.2", "", "h")
    assert ready(up, None, "") is None


@pytest.mark.parametrize("state", [api.NEW, api.PENDING, api.COMPLETE, api.REJECTED])
def test_only_what_a_node_may_have_changed_becomes_an_orphan(state: api.TaskState) -> None:
    assert orphan(api.Task(status=api.TaskStatus(state=state))) is None
    running = orphan(api.Task(status=api.TaskStatus(state=api.RUNNING, message="started")))
    assert running == api.Task(status=api.TaskStatus(state=api.ORPHANED, message="started"))


@pytest.mark.parametrize(
    ("address", "host"),
    [("10.0.0.1:4", "10.0.0.1"), ("[::1]:4", "::1"), ("10.0.0.1", "10.0.0.1"), ("fe80::1", "fe80::1"), ("", "")],
)
def test_the_host_of_an_address(address: str, host: str) -> None:
    assert host_of(address) == host


def test_a_description_keeps_what_is_known_and_has_a_bound() -> None:
    strange = api.NodeDescription(hostname="h").SerializeToString() + b"\xfa\x3f\x03abc"  # field 1023
    assert described(api.NodeDescription.FromString(strange)) == api.NodeDescription(hostname="h")
    with pytest.raises(InvalidArgument, match="description"):
        described(api.NodeDescription(hostname="h" * (MAX_DESCRIPTION_BYTES + 1)))
