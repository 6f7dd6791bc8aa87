"""Calls that a worker may make on its managers' port, with bodies that no agent sends.

`METHODS` is made from the table of who may call what and from the services' own mappings, so a new method is in it at
once. `SERVED` names the services. The session's id is filled in when the call is made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from grpclib.const import Cardinality
from hypothesis import strategies as st

from shoal.api.gen.ca_grpc import CABase, NodeCABase
from shoal.api.gen.dispatcher_grpc import DispatcherBase
from shoal.api.gen.health_grpc import HealthBase
from shoal.api.gen.logbroker_grpc import LogBrokerBase
from shoal.api.gen.views_grpc import ViewsBase
from shoal.ca.identity import WORKER_OU
from shoal.manager.port.authorization import AUTHORIZATION
from tests.harness.hostile import messages

SERVED = (DispatcherBase, LogBrokerBase, NodeCABase, CABase, HealthBase, ViewsBase)
LIVE = "the live session"
MAX_MESSAGES = 3


@dataclass(frozen=True)
class Method:
    """One method and how it is called."""

    path: str
    cardinality: Cardinality
    request: type[Message]
    reply: type[Message]


@dataclass(frozen=True)
class Call:
    """One call of a method."""

    method: Method
    messages: tuple[Any, ...]

    def with_session(self, session_id: str) -> tuple[Any, ...]:
        """Return the messages with the session's id."""
        sent = []
        for message in self.messages:
            copied = type(message)()
            copied.CopyFrom(message)
            if getattr(copied, "session_id", "") == LIVE:
                copied.session_id = session_id
            sent.append(copied)
        return tuple(sent)


def calls(known: Mapping[str, Any]) -> st.SearchStrategy[Call]:
    """Return calls of any of the methods. `known`: what exists in this swarm, as `hostile.messages` takes it."""
    everywhere: dict[str, Any] = dict.fromkeys(
        ("updates", "status", "description", "messages", "context", "timestamp", "engine", "resources", "container"),
        None,
    )
    held = {**everywhere, "session_id": st.just(LIVE), **known}

    def of(method: Method) -> st.SearchStrategy[Call]:
        streams = method.cardinality in (Cardinality.STREAM_UNARY, Cardinality.STREAM_STREAM)
        size = MAX_MESSAGES if streams else 1
        sent = st.lists(messages(method.request, held), min_size=1, max_size=size)
        return sent.map(lambda each: Call(method, tuple(each)))

    return st.sampled_from(sorted(METHODS)).flatmap(lambda path: of(METHODS[path]))


def _mapping(base: Any) -> dict[str, Any]:
    """Return the methods of a generated base class, whose methods are all abstract."""
    whole = type(base.__name__, (base,), {name: lambda self, stream: None for name in base.__abstractmethods__})
    mapping: dict[str, Any] = whole().__mapping__()
    return mapping


def _of(base: Any) -> dict[str, Method]:
    return {
        path: Method(path, handler.cardinality, handler.request_type, handler.reply_type)
        for path, handler in _mapping(base).items()
        if not AUTHORIZATION[path].units or WORKER_OU in AUTHORIZATION[path].units
    }


METHODS: dict[str, Method] = {path: method for base in SERVED for path, method in _of(base).items()}
