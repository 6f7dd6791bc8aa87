import asyncio
import itertools

import pytest

from shoal.api import v1 as api
from shoal.errors import Unavailable
from shoal.manager.bootstrap import FirstLeader
from shoal.manager.deciding.leader import Component, Leader
from shoal.manager.keyring import KeyManager
from shoal.manager.membership.roles import RoleManager
from tests.unit.manager.deciders import chain, service
from tests.unit.manager.stores import MemoryStore

pytestmark = pytest.mark.looptime

FIRST = FirstLeader("c", "n", api.RootCA(ca_cert=b"root"), b"leaf")


def leader(store: MemoryStore, *components: Component, first: FirstLeader | None = FIRST) -> Leader:
    ids = itertools.count()
    return Leader(
        store,  # type: ignore[arg-type]
        [*chain(), RoleManager(lambda: {"n"}), KeyManager(bytes)],
        components,
        first=first,
        new_id=lambda: f"id{next(ids)}",
        random_bytes=bytes,
        clock=lambda: 1_700_000_000.0 + asyncio.get_running_loop().time(),
    )


async def lead(leader: Leader, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await leader.run()


async def test_first_term_founds_the_swarm_with_its_node_a_manager() -> None:
    store = MemoryStore()
    with pytest.raises(TimeoutError):
        await lead(leader(store), 10)
    node = store.view().nodes.get("n")
    assert node is not None
    assert node.role == api.MANAGER
    assert store.commits == [6]  # cluster, node, four networks


async def test_second_term_writes_nothing() -> None:
    store = MemoryStore()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await lead(leader(store), 10)
    assert len(store.commits) == 1


async def test_manager_that_joined_founds_nothing() -> None:
    store = MemoryStore([service("web", 1)])
    with pytest.raises(TimeoutError):
        await lead(leader(store, first=None), 0.5)
    assert len(store.view().clusters) == 0
    assert len(store.view().tasks) == 1


async def test_one_part_that_fails_ends_the_term_and_the_others() -> None:
    ended: list[str] = []

    async def serve() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("dispatcher")

    async def fail() -> None:
        await asyncio.sleep(5)
        raise Unavailable("no longer leader")

    with pytest.raises(ExceptionGroup) as raised:
        await leader(MemoryStore(), Component("dispatcher", serve), Component("ca", fail)).run()
    assert raised.group_contains(Unavailable, match="no longer leader")
    assert ended == ["dispatcher"]
