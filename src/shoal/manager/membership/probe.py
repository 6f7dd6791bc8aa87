"""Asks a manager whether it serves. The leader does this before it lets the manager join.

In: node id and address. Out: nothing, or ShoalError. Source: SwarmKit manager/state/raft/raft.go (`checkHealth`).
"""

import asyncio
import ssl
from collections.abc import Callable

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol

from shoal.api import v1 as api
from shoal.api.gen.health_grpc import HealthStub
from shoal.ca.security import MANAGER_SERVER_NAME
from shoal.errors import ShoalError
from shoal.manager.forwarding.leader_link import Broken
from shoal.manager.port.authorization import subject_of

TIMEOUT = 5.0
NOT_THERE = "could not connect to prospective new cluster member using its advertised address"


class HealthProbe:
    """Calls a manager's Health service. `context` returns this node's TLS context."""

    def __init__(self, context: Callable[[], ssl.SSLContext]) -> None:
        self._context = context

    async def __call__(self, node_id: str, address: str) -> None:
        """Return if that manager serves at the address. Raises ShoalError with Docker's text."""
        host, _, port = address.rpartition(":")
        channel = _Channel(
            host.strip("[]"),
            int(port),
            ssl=self._context(),
            config=Configuration(ssl_target_name_override=MANAGER_SERVER_NAME),
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                reply = await HealthStub(channel).Check(api.HealthCheckRequest(service="Raft"))
        except GRPCError as error:
            raise ShoalError(f"{NOT_THERE}: {error.message}") from error
        except Broken as fault:
            raise ShoalError(f"{NOT_THERE}: {fault or 'no answer'}") from fault
        finally:
            channel.close()
        if channel.node_id != node_id:
            raise ShoalError(f"{NOT_THERE}: at {address} is node {channel.node_id}")
        if reply.status != api.HealthCheckResponse.SERVING:
            raise ShoalError(f"{NOT_THERE}: it does not serve yet")


class _Channel(Channel):
    """A channel that records the node id in the server's certificate."""

    node_id = ""

    async def _create_connection(self) -> H2Protocol:
        protocol = await super()._create_connection()
        certificate = protocol.connection._transport.get_extra_info("peercert") or {}
        self.node_id = subject_of(certificate.get("subject", ())).common_name
        return protocol
