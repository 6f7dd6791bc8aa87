"""What stands between the wire and a service: who calls, may they, and how an error looks from outside.

In: grpclib service objects. Out: the same services, guarded. The caller of a call is in a context variable while it is
answered (`current_caller`). This is the only place of the manager that turns our errors into gRPC statuses.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from google.protobuf.message import DecodeError
from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from shoal.errors import InvariantBroken, ResourceExhausted, ShoalError, Unavailable
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
from shoal.manager.port.turns import Turns
from shoal.repeats import Repeats

log = logging.getLogger(__name__)
_told = Repeats(log)  # whoever finds a call that fails may make it as often as he likes

AnyStream = Stream[Any, Any]
Method = Callable[[AnyStream], Awaitable[None]]
Identify = Callable[[Rule, AnyStream], Caller]

# What the Engine shows for SwarmKit's ErrNoClusterLeader (moby daemon/cluster/errors.go).
NO_LEADER = (
    "The swarm does not have a leader. It's possible that too few managers are online. "
    "Make sure more than half of the managers are online."
)
REDIRECTED = "more than one redirect to leader from"


class Forward(Protocol):
    """What to do with a call that only the leader answers, where this manager does not lead."""

    async def __call__(self, path: str, handler: Handler, stream: AnyStream, peer: Peer) -> bool:
        """Answer by what the leader answers; False: this manager leads by now, and is to answer itself."""


_CALLER: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Return who makes the call that is being answered. Raises InvariantBroken outside of a call."""
    try:
        return _CALLER.get()
    except LookupError as fault:
        raise InvariantBroken("there is no call being answered here") from fault


class Guarded:
    """A service whose every method first asks who calls, and whether this manager is the one to answer.

    Raises InvariantBroken if nobody has said who may call one of its methods.
    """

    def __init__(
        self,
        service: Any,
        who: Identify,
        is_leader: Callable[[], bool],
        rules: Mapping[str, Rule] = AUTHORIZATION,
        forward: Forward | None = None,
        turns: Turns | None = None,
    ) -> None:
        turns = turns or Turns()
        self._methods: dict[str, Handler] = {}
        for path, handler in service.__mapping__().items():
            if path not in rules:
                raise InvariantBroken(f"nobody has said who may call {path}")
            elsewhere = _elsewhere(path, handler, forward)
            guarded = _guard(path, handler.func, rules[path], who, is_leader, elsewhere, turns)
            self._methods[path] = Handler(guarded, handler.cardinality, handler.request_type, handler.reply_type)

    def __mapping__(self) -> dict[str, Handler]:
        return self._methods


def guarded(
    services: Collection[Any],
    who: Identify,
    is_leader: Callable[[], bool] = lambda: True,
    forward: Forward | None = None,
) -> list[Guarded]:
    """Return services behind the table `AUTHORIZATION`. However many calls come at once, they begin a few at a time."""
    turns = Turns()
    return [Guarded(service, who, is_leader, forward=forward, turns=turns) for service in services]


def by_certificate(
    cluster_id: str,
    is_removed: Callable[[str], bool],
    standing: Standing = unquestioned,
    is_leader: Callable[[], bool] = lambda: True,
) -> Identify:
    """Return how to tell callers by the certificate of their connection.

    `is_removed` tells of a node id, `standing` of a certificate. The leader judges that for what it alone answers: a
    follower's store may not know yet of a node that has just been promoted.
    """

    def who(rule: Rule, stream: AnyStream) -> Caller:
        judged = standing if is_leader() or not rule.leader_only else unquestioned
        return identify(rule, _peer(stream), _forwarded(stream), cluster_id, is_removed, judged)

    return who


def as_caller(caller: Caller) -> Identify:
    """Return how to tell callers where all are the same one: in this process, or behind a socket of root's."""

    def who(_rule: Rule, _stream: AnyStream) -> Caller:
        return caller

    return who


def to_grpc(error: ShoalError) -> GRPCError:
    """Return one of our errors as it goes over the wire."""
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
) -> Method:
    async def call(stream: AnyStream) -> None:
        await turns.wait_turn()
        try:
            _CALLER.set(who(rule, stream))  # each call is answered in a context of its own
            if rule.leader_only and not is_leader():
                if await elsewhere(stream):
                    return
                _CALLER.set(who(rule, stream))  # as the leader that it is by now
            await method(stream)
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


def _of_group(path: str, group: ExceptionGroup[Exception]) -> GRPCError:
    """Return what a method's children died of: our own error where there is one and nothing else."""
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
    """Return a call's headers that are text, each with all of its values."""
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
        # Both "no TLS" and "no certificate" come as None; on a port that only accepts TLS it is the second.
        return Peer(address)
    # An empty one would be a certificate that was not verified; the contexts of shoal.ca never let that through.
    return Peer(address, True, subject_of(certificate.get("subject", ())), verified=bool(certificate))
