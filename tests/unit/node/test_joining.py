"""From a token to files on disk, and into a cluster of managers, against real ports on loopback."""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shoal.api import v1 as api
from shoal.ca import tokens
from shoal.ca.node_files import NodeFiles
from shoal.ca.security import SecurityConfig
from shoal.errors import RpcError, ShoalError, Unavailable
from shoal.manager.forwarding.leader_link import LeaderLink
from shoal.node import certificates
from shoal.node.joining import announce, enter_quorum, join
from shoal.node.types import JoinRequest
from tests.unit.ca.swarms import Swarm
from tests.unit.node.managers import Manager, manager


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "ATTEMPT_PAUSE", 0.01)
    monkeypatch.setattr(certificates, "STATUS_PAUSE", 0.01)


async def joined(folder: Path, made: Manager, token: str, clock: float = 0.0) -> SecurityConfig:
    request = JoinRequest("0.0.0.0:2377", (made.address,), token)
    return await join(folder, request, Random(1), lambda: clock or time.time())


@pytest.mark.parametrize("role", [api.WORKER, api.MANAGER])
async def test_a_token_leads_to_an_identity_on_disk(tmp_path: Path, role: int) -> None:
    async with manager(tmp_path / "m") as made:
        security = await joined(tmp_path / "node", made, made.token(role))
        (node,) = made.nodes()
    assert (security.identity.node_id, security.identity.role) == (node.id, role)
    again = SecurityConfig.load(tmp_path / "node", now=time.time())
    assert again is not None
    assert again.identity == security.identity
    assert NodeFiles(tmp_path / "node").root.read_bytes() == made.swarm.root.certs_pem


async def test_a_manager_of_a_locked_swarm_has_its_key_sealed_from_the_first(tmp_path: Path) -> None:
    kek = tokens.new_kek()
    async with manager(tmp_path / "m", kek=kek) as made:
        await joined(tmp_path / "manager", made, made.token(api.MANAGER))
        await joined(tmp_path / "worker", made, made.token())
    assert b"ENCRYPTED" in NodeFiles(tmp_path / "manager").key.read_bytes()
    locked = SecurityConfig.load(tmp_path / "manager", now=time.time(), kek=kek)
    assert locked is not None
    assert locked.identity.role == api.MANAGER
    assert b"ENCRYPTED" not in NodeFiles(tmp_path / "worker").key.read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda token: "SWMTKN-2-1-" + token[9:], "FIPS"),
        (lambda token: token[:20], "invalid join token"),
        (lambda token: token[:-1], "valid join token"),
        (lambda token: "", "valid join token"),
    ],
    ids=["fips", "malformed", "wrong", "none"],
)
async def test_a_token_that_is_none_of_the_swarm_leaves_no_file(tmp_path: Path, change: object, words: str) -> None:
    async with manager(tmp_path / "m") as made:
        with pytest.raises(ShoalError, match=words):
            await joined(tmp_path / "node", made, change(made.token()))  # type: ignore[operator]
        assert made.nodes() == []
    assert not (tmp_path / "node").exists()


async def test_a_token_of_another_swarm_is_sent_to_nobody(tmp_path: Path) -> None:
    other = Swarm(tmp_path / "other", now=time.time())
    async with manager(tmp_path / "m") as made:
        with pytest.raises(ShoalError, match="remote CA does not match fingerprint"):
            await joined(tmp_path / "node", made, tokens.new_token(other.root.certs_pem))
    assert not (tmp_path / "node").exists()


async def test_a_clock_that_is_years_off_is_named_with_the_manager_that_was_asked(tmp_path: Path) -> None:
    async with manager(tmp_path / "m") as made:
        with pytest.raises(ShoalError, match=f"the certificate that {made.address} sent cannot be used: .*clock says"):
            await joined(tmp_path / "node", made, made.token(), clock=time.time() - 4 * 365 * 86400)
    assert not (tmp_path / "node").exists()


# Into the quorum.


@asynccontextmanager
async def link(made: Manager) -> AsyncIterator[LeaderLink]:
    opened = LeaderLink(made.swarm.manager("newcomer"), patience=0.2)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def deaf() -> Iterator[str]:
    """Yield an address at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


async def test_the_first_manager_that_answers_takes_a_new_one_in(tmp_path: Path) -> None:
    async with manager(tmp_path / "m") as made, link(made) as opened:
        with deaf() as gone:
            reply = await enter_quorum(opened, [gone, made.address], "10.0.0.9:2377")
        assert (reply.data_key, reply.anew) == (b"key", True)
        assert made.members.asked == [("10.0.0.9:2377", False)]
        assert (opened.address, opened.leads) == ("", False)  # nobody is known to lead by having been asked


async def test_who_has_the_data_says_so(tmp_path: Path) -> None:
    async with manager(tmp_path / "m") as made, link(made) as opened:
        opened.tell("manager", made.address, leads=False)
        assert not (await announce(opened, "10.0.0.9:2377", has_data=True)).anew
        assert made.members.asked == [("10.0.0.9:2377", True)]


async def test_a_refusal_is_final_and_what_may_pass_is_not(tmp_path: Path) -> None:
    async with manager(tmp_path / "m") as made, link(made) as opened:
        made.members.refuses = GRPCError(Status.FAILED_PRECONDITION, "a manager with this address is there")
        with pytest.raises(RpcError, match="with this address") as refusal:
            await enter_quorum(opened, [made.address, made.address], "10.0.0.9:2377")
        assert refusal.value.grpc_status is Status.FAILED_PRECONDITION
        assert len(made.members.asked) == 1
        made.members.refuses = GRPCError(Status.UNAVAILABLE, "no quorum")
        with pytest.raises(RpcError, match="no quorum"):
            await enter_quorum(opened, [made.address, made.address], "10.0.0.9:2377")
        assert len(made.members.asked) == 3


async def test_where_nobody_answers_that_is_what_is_said(tmp_path: Path) -> None:
    async with manager(tmp_path / "m") as made, link(made) as opened:
        with pytest.raises(Unavailable, match="knows of no other manager"):
            await enter_quorum(opened, [], "10.0.0.9:2377")
        with deaf() as gone, pytest.raises(Unavailable, match="connection to the leader was lost"):
            await enter_quorum(opened, [gone], "10.0.0.9:2377")
        assert made.members.asked == []
