"""Joins a swarm: exchanges a token for a certificate and, as a manager, enters etcd's cluster.

In: the address of a manager, a token; later, this manager's own address. Out: the node's identity, written to files;
the members of etcd's cluster and the store's data key. Source of the order of steps: SwarmKit node/node.go
(`loadSecurityConfig`), manager/state/raft/raft.go. `membership` then runs the node, `manager` its manager.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError

from shoal.agent.remotes import Remotes
from shoal.api import v1 as api
from shoal.api.gen import managers_pb2 as pb
from shoal.api.gen.managers_grpc import ManagersBase
from shoal.ca.csr import make_csr, new_key
from shoal.ca.identity import CA_NAME, InvalidCertificate, identity_of, read_chain
from shoal.ca.security import SecurityConfig, first_context, joining_context
from shoal.ca.tokens import parse_token
from shoal.errors import InvalidArgument, InvariantBroken, RpcError, ShoalError, Unavailable
from shoal.manager.forwarding.leader_link import LeaderLink
from shoal.manager.forwarding.services import TermService
from shoal.node.certificates import CAClient, download_root
from shoal.node.types import JoinRequest

log = logging.getLogger(__name__)

_WEIGHT = 10  # of the manager that the user named
JOIN = "/shoal.v1.Managers/Join"


async def join(folder: Path, request: JoinRequest, rng: Random, clock: Callable[[], float]) -> SecurityConfig:
    """Get a certificate from the swarm, write the identity to `folder`, and return it.

    Raises RpcError if the manager does not answer or refuses, ShoalError for a malformed token or one of another swarm,
    OSError.
    """
    address = request.remote_addrs[0]
    digest = _digest(request.join_token)
    root = await download_root(address, digest)
    remotes = Remotes({address: _WEIGHT})
    try:
        read_chain(root)
        context = joining_context(root)
        key = new_key()
        client = CAClient(remotes, lambda: context, CA_NAME, rng)
        chain = await client.request(make_csr(key), request.join_token, request.availability)
        known = first_context(root, chain, key, clock())
        kek, version = b"", 0
        if identity_of(read_chain(chain)[0]).role == api.MANAGER:
            kek, version = await CAClient(remotes, lambda: known, CA_NAME, rng).unlock_key()
    except InvalidCertificate as error:
        raise ShoalError(f"the certificate that {address} sent cannot be used: {error}") from error
    return await asyncio.to_thread(
        lambda: SecurityConfig.create(
            folder, root_pem=root, chain_pem=chain, key=key, now=clock(), kek=kek or None, kek_version=version
        )
    )


async def announce(link: LeaderLink, address: str, *, has_data: bool) -> pb.JoinResponse:
    """Tell the leader this manager's address. A manager without data becomes a new member of etcd's cluster.

    Raises RpcError with the leader's error, Unavailable, LeadsHere.
    """
    try:
        reply = await link.call(JOIN, _HANDLER, pb.JoinRequest(addr=address, has_data=has_data))
    except GRPCError as error:
        raise RpcError(error.status, error.message or "") from error
    if not isinstance(reply, pb.JoinResponse):
        raise InvariantBroken("a manager answered something else than was asked")
    return reply


async def enter_quorum(link: LeaderLink, managers: Iterable[str], address: str) -> pb.JoinResponse:
    """Ask managers, one after the other, to admit this manager. Any manager forwards the call to the leader.

    Raises RpcError with the leader's error, Unavailable if no manager could be asked.
    """
    failure: Unavailable | RpcError = Unavailable("this manager knows of no other manager that it could join")
    for manager in managers:
        link.tell("", manager, leads=False)
        try:
            return await announce(link, address, has_data=False)
        except Unavailable as error:
            failure = error
        except RpcError as error:
            if error.grpc_status is not Status.UNAVAILABLE:
                raise
            failure = error
        finally:
            link.tell("", "", leads=False)
        log.debug("manager at %s was asked in vain: %s", manager, failure)
    raise failure


def _digest(token: str) -> str:
    if not token:
        return ""  # as in Docker: the root is not checked, and the manager refuses the join without a token
    try:
        parsed = parse_token(token)
    except InvalidArgument as error:
        raise ShoalError(str(error)) from error  # HTTP 500, as from Docker
    if parsed.fips:
        raise ShoalError("node is not FIPS-enabled but cluster requires FIPS")
    return parsed.digest


_HANDLER: Handler = TermService(ManagersBase, lambda: None).__mapping__()[JOIN]
