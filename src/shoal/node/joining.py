"""Becoming a node of a swarm that exists: from a join token to a certificate in its files.

In: the address of a manager, a token. Out: the node's identity, written. Order of the steps: SwarmKit node/node.go
(`loadSecurityConfig`). What the joined node does then is `membership`.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

from shoal.agent.remotes import Remotes
from shoal.api import v1 as api
from shoal.ca.csr import make_csr, new_key
from shoal.ca.identity import CA_NAME, InvalidCertificate, identity_of, read_chain
from shoal.ca.security import SecurityConfig, first_context, joining_context
from shoal.ca.tokens import parse_token
from shoal.errors import InvalidArgument, ShoalError
from shoal.node.remote_ca import CAClient, download_root
from shoal.node.types import JoinRequest

_WEIGHT = 10  # of a manager that a person named


async def join(folder: Path, request: JoinRequest, rng: Random, clock: Callable[[], float]) -> SecurityConfig:
    """Return the identity that the swarm gives to this host, once it is in `folder`.

    Raises RpcError where no manager answers or one refuses, ShoalError for a token that is none of that swarm, OSError.
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


def _digest(token: str) -> str:
    if not token:
        return ""  # Docker trusts the first root that it sees, and is refused for want of a token then
    try:
        parsed = parse_token(token)
    except InvalidArgument as error:
        raise ShoalError(str(error)) from error  # HTTP 500, as from Docker
    if parsed.fips:
        raise ShoalError("node is not FIPS-enabled but cluster requires FIPS")
    return parsed.digest
