import logging
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.testing import ChannelFor

from shoal.api import v1 as api
from shoal.api.gen.health_grpc import HealthStub
from shoal.errors import Conflict, InvariantBroken, NotFound, OutOfSequence, ShoalError, Unavailable
from shoal.manager.port.authorization import Caller, Rule
from shoal.manager.port.guard import NO_LEADER, Guarded, as_caller, current_caller, guarded

ME = Caller("n1", api.MANAGER, "c1", "10.0.0.1:5")
PATH = "/docker.swarmkit.v1.Health/Check"


class Failing:
    """A service whose one method raises, or answers."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.failure = failure
        self.seen: list[Caller] = []

    async def check(self, stream: Any) -> None:
        await stream.recv_message()
        self.seen.append(current_caller())
        if self.failure is not None:
            raise self.failure
        await stream.send_message(api.HealthCheckResponse())

    def __mapping__(self) -> dict[str, Handler]:
        return {PATH: Handler(self.check, Cardinality.UNARY_UNARY, api.HealthCheckRequest, api.HealthCheckResponse)}


async def call(service: Failing, **options: Any) -> tuple[Status, str | None]:
    async with ChannelFor(guarded([service], as_caller(ME), **options)) as channel:
        try:
            await HealthStub(channel).Check(api.HealthCheckRequest())
        except GRPCError as error:
            return error.status, error.message
    return Status.OK, None


async def test_a_service_knows_its_caller() -> None:
    service = Failing()
    assert await call(service) == (Status.OK, None)
    assert service.seen == [ME]
    with pytest.raises(InvariantBroken):
        current_caller()


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (NotFound("node x not found"), Status.NOT_FOUND),
        (Conflict("name conflicts"), Status.ALREADY_EXISTS),
        (OutOfSequence(), Status.UNKNOWN),
        (ShoalError("plain"), Status.UNKNOWN),
        (Unavailable("later"), Status.UNAVAILABLE),
        (ExceptionGroup("children", [ExceptionGroup("deeper", [NotFound("a child's")])]), Status.NOT_FOUND),
    ],
)
async def test_our_errors_keep_their_code_and_text(failure: Exception, status: Status) -> None:
    text = "a child's" if isinstance(failure, ExceptionGroup) else str(failure)
    assert await call(Failing(failure)) == (status, text)


@pytest.mark.parametrize(
    "failure", [ValueError("the password is x"), ExceptionGroup("children", [KeyError("x"), NotFound("y")])]
)
async def test_what_nobody_foresaw_is_logged_and_not_told(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "shoal.manager.port.guard"):
        assert await call(Failing(failure)) == (Status.UNKNOWN, "internal error")
    (record,) = [record for record in caplog.records if record.name == "shoal.manager.port.guard"]
    assert record.exc_info
    assert PATH in record.getMessage()


async def test_a_follower_sends_callers_of_the_leader_away() -> None:
    rules = {PATH: Rule((), leader_only=True)}
    service = Failing()
    async with ChannelFor([Guarded(service, as_caller(ME), lambda: False, rules)]) as channel:
        stub = HealthStub(channel)
        with pytest.raises(GRPCError) as caught:
            await stub.Check(api.HealthCheckRequest())
        assert (caught.value.status, caught.value.message) == (Status.UNAVAILABLE, NO_LEADER)
        with pytest.raises(GRPCError) as caught:
            await stub.Check(api.HealthCheckRequest(), metadata=[("redirect", "10.0.0.3:2377")])
    assert (caught.value.status, caught.value.message) == (
        Status.RESOURCE_EXHAUSTED,
        "more than one redirect to leader from: [10.0.0.3:2377]",
    )
    assert service.seen == []


def test_a_method_that_is_in_no_rule_is_not_served() -> None:
    with pytest.raises(InvariantBroken, match=r"nobody has said who may call /docker\.swarmkit\.v1\.Health/Check"):
        Guarded(Failing(), as_caller(ME), lambda: True, {})
