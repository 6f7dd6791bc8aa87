"""Changes the members of etcd's cluster: managers enter as learners, become voters when they have caught up, and leave.

In: a client of any member, node ids. A member's name is its node's id, and its peer URL is made from that. So a node
has one membership at a time, and its data belongs to this membership. A node that joins again gets a new one. The
caller decides who may enter and leave, and whether enough members stay.
"""

import asyncio
import logging
from dataclasses import dataclass

from shoal.errors import ShoalError, Unavailable
from shoal.store.etcd_client import EtcdClient, Refused
from shoal.store.etcd_config import UNIX, peer_url

log = logging.getLogger(__name__)

# Seconds. etcd 3.4 allows one learner at a time. A joining manager usually starts in about 0.3 s and is promoted at
# once. A copy of 100 MB over a slow line takes longer and must not start again and again.
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
    """A membership: etcd's id for it, its node, and whether the member has no vote yet."""

    id: int
    node_id: str
    is_learner: bool


async def listed(client: EtcdClient) -> dict[str, Member]:
    """Return the members by node id, including those that have never started. Raises Unavailable."""
    found = (await client.members()).members
    # A member's name is known once it has started, its URL from the beginning.
    names = [member.peerURLs[0].removeprefix(UNIX).rpartition(":")[0] for member in found]
    return {name: Member(member.ID, name, member.isLearner) for name, member in zip(names, found, strict=True)}


async def admit(client: EtcdClient, node_id: str, *, patience: float = ADMIT_PATIENCE) -> list[str]:
    """Make a node a learner, and return the node ids of all members, with which it starts its etcd.

    An older membership of the node is removed first, because its data is useless for a new one. While there is another
    learner, waits up to `patience` seconds. May be repeated: the last membership counts. Raises Unavailable.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while True:
        await expel(client, node_id)
        try:
            await client.add_member(peer_url(node_id), learner=True)
            return list(await listed(client))
        except ShoalError as error:
            # etcd makes a member's id from the URL and the current second. In the second in which a member was removed,
            # the same id is refused.
            if _TOO_MANY_LEARNERS not in str(error) and _NOT_FOUND not in str(error):
                raise
            if loop.time() > deadline:
                raise Unavailable("another manager is joining at the moment: try again later") from error
        await asyncio.sleep(_LOOK_AGAIN)


async def settle_learners(client: EtcdClient, *, patience: float = PROMOTE_PATIENCE) -> None:
    """Make every learner a voter once it has caught up. Remove one that has not after `patience` seconds.

    Returns when no learner is left. Raises Unavailable, also when this member no longer leads; then the next leader
    must do this.
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
    """Hand Raft's lead from this client's member to another voter. Return whether one took it.

    Members that are down are not known here, so each voter is tried in turn, for as long as an election takes.
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
        # Another leader may have promoted or removed it.
        if _NOT_A_LEARNER not in said and _NOT_FOUND not in said:
            raise
    return True


async def _remove(client: EtcdClient, member: Member) -> None:
    try:
        await client.remove_member(member.id)
    except Refused as error:
        if _NOT_FOUND not in str(error):
            raise
