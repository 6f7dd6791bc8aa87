import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.testing import ChannelFor

from shoal.api import v1 as api
from shoal.api.gen.health_grpc import HealthStub
from shoal.manager.port.authorization import Caller
from shoal.manager.port.guard import as_caller, guarded
from shoal.manager.port.health import HealthServer

SERVING, NOT_SERVING = api.HealthCheckResponse.SERVING, api.HealthCheckResponse.NOT_SERVING


async def test_the_server_serves_and_raft_when_it_takes_part() -> None:
    takes_part = False
    services = guarded([HealthServer(lambda: takes_part)], as_caller(Caller("m", api.MANAGER, "c", "")))
    async with ChannelFor(services) as channel:
        stub = HealthStub(channel)
        assert (await stub.Check(api.HealthCheckRequest())).status == SERVING
        assert (await stub.Check(api.HealthCheckRequest(service="Raft"))).status == NOT_SERVING
        takes_part = True
        assert (await stub.Check(api.HealthCheckRequest(service="Raft"))).status == SERVING
        with pytest.raises(GRPCError) as caught:
            await stub.Check(api.HealthCheckRequest(service="ControlAPI"))
    assert (caught.value.status, caught.value.message) == (Status.NOT_FOUND, "unknown service")
