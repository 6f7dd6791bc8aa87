"""Bytes that Docker Engine 20.10 wrote (gossip.md section 6), and bytes that nobody honest writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.api.gen import networkdb_pb2 as pb
from shoal.network.networkdb import messages

NODE = "0123456789ab"


def inner(message: bytes, kind: int) -> str:
    outer = messages.unwrap(message)
    assert outer is not None
    assert outer[0] == kind
    return outer[1].hex()


def test_dockers_node_event() -> None:
    message = messages.node_event(pb.NodeEvent.JOIN, 5, NODE)
    assert message.hex() == "08061212080110051a0c303132333435363738396162"


def test_dockers_network_event() -> None:
    message = messages.network_event(pb.NetworkEvent.JOIN, 300, NODE, "net")
    assert inner(message, 1) == "080110ac021a0c30313233343536373839616222036e6574"


def test_dockers_table_event() -> None:
    vector = "080310ac021a0c30313233343536373839616222036e65742a017432016b3a017640880e"
    l_time = 300
    message = messages.table_event(messages.DELETE, l_time, NODE, "net", "t", "k", b"v", 1800)
    assert inner(message, 2) == vector
    event = messages.read_table_event(bytes.fromhex(vector))
    assert event is not None
    assert (event.type, event.l_time, event.key, event.residual_reap_time) == (3, 300, "k", 1800)


def test_dockers_bulk_sync() -> None:
    message = messages.bulk_sync(300, True, NODE, ["a", "b"], messages.compound([]))
    assert inner(message, 4) == "08ac0210011a0c3031323334353637383961622201612201622a020805"
    assert messages.compound([]) == messages.EMPTY_COMPOUND


@pytest.mark.parametrize("length", [1, 121, 123, 124, 125, 126, 127, 128, 129, 1383, 16380, 16384, 70000])
def test_a_compound_is_what_protobuf_writes_and_costs_what_was_said(length: int) -> None:
    payloads = [bytes(length), b"abc"]
    compound = pb.CompoundMessage()
    for payload in payloads:
        compound.messages.add(Payload=payload)
    wanted = pb.GossipMessage(type=pb.GossipMessage.COMPOUND, data=compound.SerializeToString())
    assert messages.compound(payloads) == wanted.SerializeToString()
    outer = messages.unwrap(messages.compound(payloads))
    assert outer is not None
    assert len(outer[1]) == sum(messages.cost_in_compound(len(payload)) for payload in payloads)
    assert messages.parts(outer[1]) == payloads


def test_names_that_cannot_be_are_refused() -> None:
    good = {"type": 1, "l_time": 1, "node_name": "n", "network_id": "x", "table_name": "t", "key": "k"}
    assert messages.read_table_event(pb.TableEvent(**good).SerializeToString())  # type: ignore[arg-type]
    for field in ("node_name", "network_id", "table_name", "key"):
        for name in ("", "a/b", "x" * (messages.MOST_NAME + 1)):
            event = pb.TableEvent(**{**good, field: name})  # type: ignore[arg-type]
            assert messages.read_table_event(event.SerializeToString()) is None
    for kind in (0, 4, 99):
        assert messages.read_table_event(pb.TableEvent(**{**good, "type": kind}).SerializeToString()) is None  # type: ignore[arg-type]
    long = pb.TableEvent(**good, value=bytes(messages.MOST_VALUE + 1))  # type: ignore[arg-type]
    assert messages.read_table_event(long.SerializeToString()) is None


def test_a_bulk_sync_of_too_many_networks_is_refused() -> None:
    sync = pb.BulkSyncMessage(node_name="n", networks=["x"] * (messages.MOST_NETWORKS + 1))
    assert messages.read_bulk_sync(sync.SerializeToString()) is None


@given(st.binary(max_size=64))
def test_whatever_is_no_message_is_none(data: bytes) -> None:
    messages.unwrap(data)
    messages.parts(data)
    messages.read_push_pull(data)
    for read in (
        messages.read_node_event,
        messages.read_network_event,
        messages.read_table_event,
        messages.read_bulk_sync,
    ):
        read(data)
