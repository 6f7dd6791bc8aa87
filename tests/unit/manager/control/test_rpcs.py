import typing
from typing import Any

import pytest
from google.protobuf.message import Message

from shoal.api import v1 as api
from shoal.api.gen import control_pb2
from shoal.api.gen.control_grpc import ControlBase
from shoal.manager.control.rpcs import RPCS, ControlRpcs, Rpc


class Remembering(ControlRpcs):
    """A Control that records requests and answers everything with an empty reply."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Message]] = []

    async def carry_out(self, rpc: Rpc[Any, Any, Any], request: Any) -> Any:
        self.asked.append((rpc.name, request))
        return rpc.reply_type()


def test_the_table_has_every_rpc_of_the_service() -> None:
    service = control_pb2.DESCRIPTOR.services_by_name["Control"]
    wire = {f"/{service.full_name}/{method.name}" for method in service.methods}
    assert sorted(rpc.path for rpc in RPCS) == sorted(wire)
    assert wire == set(ControlBase.__mapping__(ControlBase))  # type: ignore[arg-type]


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_a_method_takes_and_returns_what_the_service_says(rpc: Rpc[Any, Any, Any]) -> None:
    types = typing.get_type_hints(rpc.method, localns={"Store": object})
    assert types == {"request": rpc.request_type, "return": rpc.reply_type}
    assert getattr(rpc.part, rpc.name) is rpc.method


def test_what_creates_is_not_repeated() -> None:
    assert {rpc.name for rpc in RPCS if not rpc.repeatable} == {
        rpc.name for rpc in RPCS if rpc.name.startswith("create_")
    }


async def test_a_call_is_carried_out_by_the_control_that_was_asked() -> None:
    control, other = Remembering(), Remembering()
    request = api.GetNodeRequest(node_id="n")
    assert await control.get_node(request) == api.GetNodeResponse()
    assert control.asked == [("get_node", request)]
    assert not other.asked


def test_an_rpc_that_the_service_does_not_have_is_refused() -> None:
    async def no_such_call(part: str, request: Message) -> Message:
        return request

    rpc = Rpc(str, no_such_call)
    with pytest.raises(KeyError, match="NoSuchCall"):
        rpc.__set_name__(ControlRpcs, "no_such_call")
