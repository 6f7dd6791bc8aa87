"""Who is a member of etcd's cluster: managers enter as learners, become voters when they have caught up, and leave.

In: a client of any member of it, node ids. A member is called by its node's id, and its peer URL is made of that; so a
node has one membership at a time, and its data belongs to that one alone: a node that joins again gets a new one. Who
may come and go, and whether enough of them stay, is the caller's to know.
"""

import asyncio
import logging
from dataclasses import dataclass

from shoal.errors import ShoalError, Unavailable
from shoal.store.etcd_client import EtcdClient, Refused
from shoal.store.etcd_config import UNIX, peer_url

log = logging.getLogger(__name__)

# etcd 3.4 has one learner at a time. A joiner starts in about 0.3 s and is promoted at once; a hundred megabytes over a
# slow line take longer, and are not to be begun again and again.
ADMIT_PATIENCE = 20.0
PROMOTE_PATIENCE = 60.0
_LOOK_AGAIN = 0.02
_LONGEST_DELAY = 0.5
_TOO_MANY_LEARNERS = "too many learner members"
# Texts: etcd 3.4 etcdserver/api/v3rpc/rpctypes/error.go.
_NOT_READY = "can only promote a learner member which is in sync with leader"
_NOT_A_LEARNER = "can only promote a learner member"
_NOT_FOUND = "member not found"


@dataclass(frozen=True, slots=True)
class Member:
    """A membership: etcd's id for it, the node that has it, and whether that one has no vote yet."""

    id: int
    node_id: str
    is_learner: bool


async def listed(client: EtcdClient) -> dict[str, Member]:
    """Return the members by node id, those too that have never started. Raises Unavailable."""
    found = (await client.members()).members
    # A member's name is known once it has started, its URL from the beginning.
    names = [member.peerURLs[0].removeprefix(UNIX).rpartition(":")[0] for member in found]
    return {name: Member(member.ID, name, member.isLearner) for name, member in zip(names, found, strict=True)}


async def admit(client: EtcdClient, node_id: str, *, patience: float = ADMIT_PATIENCE) -> list[str]:
    """Make a node a learner, and return the node ids of all members: what it starts its etcd with.

    An older membership of the node is removed first: what etcd kept for that one is of no use for a new one. While
    another learner is there, waits for at most `patience` seconds. May be repeated: the last membership counts. Raises
    Unavailable.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while True:
        await expel(client, node_id)
        try:
            await client.add_member(peer_url(node_id), learner=True)
            return list(await listed(client))
        except ShoalError as error:
            # An id is made of the URL and the second: within the one in which it was removed, it is refused.
            if _TOO_MANY_LEARNERS not in str(error) and _NOT_FOUND not in str(error):
                raise
            if loop.time() > deadline:
                raise Unavailable("another manager is joining at the moment: try again later") from error
        await asyncio.sleep(_LOOK_AGAIN)


async def settle_learners(client: EtcdClient, *, patience: float = PROMOTE_PATIENCE) -> None:
    """Make every learner a voter once it has caught up; remove one that has not after `patience` seconds.

    Returns when there is no learner left. Raises Unavailable: where this member does not lead any more, the next
    leader does it.
    """
    loop = asyncio.get_running_loop()
    deadline, delay = loop.time() + patience, _LOOK_AGAIN
    while True:
        learners = [member for member in (await listed(client)).values() if member.is_learner]
        left = [learner for learner in learners if not await _promote(client, learner)]
        if not left:
            return
        if loop.time() > deadline:
            for learner in left:
                log.warning("manager %s did not catch up in %g s: it has to join again", learner.node_id, patience)
                await _remove(client, learner)
            return
        await asyncio.sleep(delay)
        delay = min(1.2 * delay, _LONGEST_DELAY)


async def expel(client: EtcdClient, node_id: str) -> None:
    """Remove a node's membership, if it has one. Its etcd ends when it hears of it. May be repeated."""
    member = (await listed(client)).get(node_id)
    if member is not None:
        await _remove(client, member)


async def move_lead(client: EtcdClient) -> bool:
    """Hand Raft's lead, which this client's member has, to another voter; return whether one took it.

    A member that is up is not told from one that is not: each is tried in turn, for as long as an election takes.
    """
    status = await client.status()
    if status.leader != status.header.member_id:
        return True
    for member in (await listed(client)).values():
        if member.id == status.leader or member.is_learner:
            continue
        try:
            await client.move_leader(member.id)
        except ShoalError as error:
            log.info("manager %s did not take the lead: %s", member.node_id, error)
        else:
            return True
    return False


async def _promote(client: EtcdClient, learner: Member) -> bool:
    try:
        await client.promote_member(learner.id)
    except ShoalError as error:
        said = str(error)
        if _NOT_READY in said:
            return False
        # Another leader may have done it, or removed it.
        if _NOT_A_LEARNER not in said and _NOT_FOUND not in said:
            raise
    return True


async def _remove(client: EtcdClient, member: Member) -> None:
    try:
        await client.remove_member(member.id)
    except Refused as error:
        if _NOT_FOUND not in str(error):
            raise
