from typing import Any

import pytest

from shoal.errors import InvalidArgument, NotFound, Unimplemented
from shoal.manager.control.rpcs import RPCS, Rpc
from tests.unit.manager.control.conftest import Make


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
async def test_every_rpc_is_answered_by_its_part(make: Make, rpc: Rpc[Any, Any, Any]) -> None:
    """An empty request shows whether an RPC is implemented: lists answer, the others say what is missing."""
    control, _ = make()
    if rpc.name.startswith("list_"):
        assert isinstance(await control.carry_out(rpc, rpc.request_type()), rpc.reply_type)
        return
    with pytest.raises((InvalidArgument, NotFound, Unimplemented)) as refused:
        await control.carry_out(rpc, rpc.request_type())
    # The exceptions: `CreateExtension` and `CreateResource` refuse without looking at the request.
    assert isinstance(refused.value, Unimplemented) == (rpc.name in ("create_extension", "create_resource"))
