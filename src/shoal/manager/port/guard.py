"""Guards services: identifies the caller, checks what it may call, and translates errors.

In: grpclib service objects. Out: the same services, guarded. While a call is answered, a context variable holds its
caller (`current_caller`). This is the only place in the manager that turns errors of `shoal.errors` into gRPC statuses.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, cast

from google.protobuf.message import DecodeError
from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from shoal.api import v1 as api
from shoal.errors import InvariantBroken, ResourceExhausted, ShoalError, Unavailable
from shoal.manager.dispatcher.node_states import host_of
from shoal.manager.port.authorization import (
    AUTHORIZATION,
    FORWARDED_OU,
    REDIRECT,
    Caller,
    Forwarded,
    Peer,
    Rule,
    Standing,
    forwarded_from,
    identify,
    subject_of,
    unquestioned,
)
from shoal.manager.port.crowd import origin
from shoal.manager.port.labour import Labour
from shoal.manager.port.measured import MeasuredStream, measured
from shoal.manager.port.turns import Turns
from shoal.repeats import Repeats

log = logging.getLogger(__name__)
_told = Repeats(log)  # because a peer may repeat a call that fails as often as it likes

AnyStream = Stream[Any, Any]
Method = Callable[[AnyStream], Awaitable[None]]
Identify = Callable[[Rule, AnyStream], Caller]

# Docker's text for SwarmKit's ErrNoClusterLeader (moby daemon/cluster/errors.go).
NO_LEADER = (
    "The swarm does not have a leader. It's possible that too few managers are online. "
    "Make sure more than half of the managers are online."
)
REDIRECTED = "more than one redirect to leader from"


class Forward(Protocol):
    """Forwards a call that only the leader answers, when this manager does not lead."""

    async def __call__(self, path: str, handler: Handler, stream: AnyStream, peer: Peer) -> bool:
        """Answer with the leader's answer. Return False if this manager leads by now and must answer itself."""


_CALLER: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Return the caller of the present call. Raises InvariantBroken outside of a call."""
    try:
        return _CALLER.get()
    except LookupError as fault:
        raise InvariantBroken("there is no call being answered here") from fault


class Guarded:
    """A service that first checks who calls, and whether this manager answers, in every method.

    The constructor raises InvariantBroken if a method of the service is not in `rules`.
    """

    def __init__(
        self,
        service: Any,
        who: Identify,
        is_leader: Callable[[], bool],
        rules: Mapping[str, Rule] = AUTHORIZATION,
        forward: Forward | None = None,
        turns: Turns | None = None,
        labour: Labour | None = None,
    ) -> None:
        turns, labour = turns or Turns(), labour or Labour()
        self._methods: dict[str, Handler] = {}
        for path, handler in service.__mapping__().items():
            if path not in rules:
                raise InvariantBroken(f"nobody has said who may call {path}")
            elsewhere = _elsewhere(path, handler, forward)
            guarded = _guard(path, handler.func, rules[path], who, is_leader, elsewhere, turns, labour)
            self._methods[path] = Handler(guarded, handler.cardinality, handler.request_type, handler.reply_type)

    def __mapping__(self) -> dict[str, Handler]:
        return self._methods


def guarded(
    services: Collection[Any],
    who: Identify,
    is_leader: Callable[[], bool] = lambda: True,
    forward: Forward | None = None,
) -> list[Guarded]:
    """Return services guarded by the table `AUTHORIZATION`.

    When many calls come at once, a few begin in each turn. The labour of a caller's calls of all services is one.
    """
    turns, labour = Turns(), Labour()
    return [Guarded(service, who, is_leader, forward=forward, turns=turns, labour=labour) for service in services]


def by_certificate(
    cluster_id: str,
    is_removed: Callable[[str], bool],
    standing: Standing = unquestioned,
    is_leader: Callable[[], bool] = lambda: True,
) -> Identify:
    """Return a function that identifies callers by the certificate of their connection.

    `is_removed` and `standing` are those of `judge`. For calls that only the leader answers, only the leader asks
    `standing`: a follower's store may not know yet that a node was promoted.
    """

    def who(rule: Rule, stream: AnyStream) -> Caller:
        judged = standing if is_leader() or not rule.leader_only else unquestioned
        return identify(rule, _peer(stream), _forwarded(stream), cluster_id, is_removed, judged)

    return who


def as_caller(caller: Caller) -> Identify:
    """Return a function that names the same caller for each call, for calls in this process or over root's socket."""

    def who(_rule: Rule, _stream: AnyStream) -> Caller:
        return caller

    return who


def to_grpc(error: ShoalError) -> GRPCError:
    """Return the gRPC error for an error of `shoal.errors`."""
    return GRPCError(error.grpc_status, str(error))


def _elsewhere(path: str, handler: Handler, forward: Forward | None) -> Callable[[AnyStream], Awaitable[bool]]:
    async def answered(stream: AnyStream) -> bool:
        if forward is None:
            hops = texts_of(stream).get(REDIRECT, [])
            if hops:
                raise ResourceExhausted(f"{REDIRECTED}: [{' '.join(hops)}]")
            raise Unavailable(NO_LEADER)
        return await forward(path, handler, stream, _peer(stream))

    return answered


def _guard(
    path: str,
    method: Method,
    rule: Rule,
    who: Identify,
    is_leader: Callable[[], bool],
    elsewhere: Callable[[AnyStream], Awaitable[bool]],
    turns: Turns,
    labour: Labour,
) -> Method:
    async def answer(stream: AnyStream) -> None:
        if rule.leader_only and not is_leader():
            if await elsewhere(stream):
                return
            _CALLER.set(who(rule, stream))  # again, because this manager leads now
        await method(stream)

    async def call(stream: AnyStream) -> None:
        await turns.wait_turn()
        try:
            caller = who(rule, stream)
            _CALLER.set(caller)  # each call has a context of its own
            await _bounded(answer, stream, caller, labour)
        except ShoalError as error:
            if isinstance(error, InvariantBroken):
                _told.log(logging.ERROR, (path, type(error)), "%s met what cannot be", path, exc_info=True)
            raise to_grpc(error) from error
        except GRPCError:
            raise
        except DecodeError as error:
            raise GRPCError(Status.INTERNAL, "grpc: error unmarshalling request") from error
        except ExceptionGroup as group:
            raise _of_group(path, group) from group
        except Exception as error:
            _told.log(logging.ERROR, (path, type(error)), "%s failed", path, exc_info=True)
            raise GRPCError(Status.UNKNOWN, "internal error") from error

    return call


async def _bounded(
    answer: Callable[[AnyStream], Coroutine[Any, Any, None]], stream: AnyStream, caller: Caller, labour: Labour
) -> None:
    """Answer a call within what its caller may have of this manager's time. Managers have all of it."""
    if caller.role == api.MANAGER:
        await answer(stream)
        return
    name = f"node {caller.node_id}" if caller.node_id else f"a stranger at {origin(host_of(caller.address))}"
    account = labour.account(name, asyncio.get_running_loop().time())
    if isinstance(stream, Stream):  # in the simulation it is none: messages come decoded
        stream = cast(AnyStream, MeasuredStream(stream, account))
    await measured(answer(stream), account)


def _of_group(path: str, group: ExceptionGroup[Exception]) -> GRPCError:
    """Return the error that a method's children failed with, if it is one of ours; else log it and hide it."""
    ours = group.subgroup((ShoalError, GRPCError))
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if ours is None or len(ours.exceptions) != len(group.exceptions):
        _told.log(logging.ERROR, (path, type(first)), "%s failed", path, exc_info=True)
        return GRPCError(Status.UNKNOWN, "internal error")
    return first if isinstance(first, GRPCError) else to_grpc(_shoal(first))


def _shoal(error: BaseException) -> ShoalError:
    return error if isinstance(error, ShoalError) else ShoalError("internal error")


def _forwarded(stream: AnyStream) -> Forwarded | None:
    texts = texts_of(stream)
    single = {name: values[0] for name, values in texts.items() if len(values) == 1}
    return forwarded_from(single, texts.get(FORWARDED_OU, []))


def texts_of(stream: AnyStream) -> dict[str, list[str]]:
    """Return a call's text headers, each with all of its values."""
    texts: dict[str, list[str]] = {}
    for name, value in (stream.metadata or {}).items():
        if isinstance(value, str):
            texts.setdefault(name, []).append(value)
    return texts


def _peer(stream: AnyStream) -> Peer:
    transport_peer = stream.peer
    name = transport_peer.addr()
    address = f"{name[0]}:{name[1]}" if isinstance(name, tuple) and len(name) > 1 else ""
    if isinstance(name, tuple) and ":" in str(name[0]):
        address = f"[{name[0]}]:{name[1]}"
    certificate = transport_peer.cert()
    if certificate is None:
        # None means "no TLS" or "no certificate". This port only accepts TLS, so it means the second.
        return Peer(address)
    # An empty certificate is one that was not verified. The TLS contexts of `shoal.ca` never accept one.
    return Peer(address, True, subject_of(certificate.get("subject", ())), verified=bool(certificate))
