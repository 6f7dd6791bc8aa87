"""What a deposed leader can still write: nothing after the new leader's epoch. The new leader sees what was written
before it.

docs/architecture.md ("Who may write") gives the reasons. SHOAL_PAUSES sets the number of rounds of the pauses.
"""

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from shoal import spawning
from shoal.errors import NoLeader, Unavailable
from shoal.store.etcd_process import EtcdProcess
from shoal.store.store import Store
from tests.unit.store.objects import task
from tests.unit.store.relay import Managers, managers
from tests.unit.store.test_follower import SEALER, A, B, C, ids, lead_first, write

log = logging.getLogger(__name__)

ROUNDS = int(os.environ.get("SHOAL_PAUSES", "1"))


async def wait_so(condition: Callable[[], object], timeout: float = 30) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - what any reader could see
            await asyncio.sleep(0.001)


@asynccontextmanager
async def three(folder: Path) -> AsyncIterator[tuple[Managers, dict[str, Store]]]:
    """Run three managers' etcds, each with a store that follows."""
    async with managers(folder, A, B, C) as cluster, AsyncExitStack() as stack:
        stores = {
            name: await stack.enter_async_context(Store.follow(cluster.etcds[name].client, SEALER))
            for name in (A, B, C)
        }
        yield cluster, stores


def is_stopped(pid: int) -> bool:
    """Return whether every thread of a process has stopped. After SIGSTOP threads may run on for up to 20 ms."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return all((thread / "stat").read_text().rpartition(") ")[2].startswith("T") for thread in threads)


@asynccontextmanager
async def paused(cluster: Managers, node_id: str) -> AsyncIterator[Callable[[], None]]:
    """Pause a member of etcd. Nobody asks it for the leader meanwhile. Yields a function that lets it go on."""
    etcd = cluster.etcds.pop(node_id)
    pid = etcd.pid
    assert pid is not None

    def wake() -> None:
        os.kill(pid, signal.SIGCONT)

    os.kill(pid, signal.SIGSTOP)
    try:
        await wait_so(lambda: is_stopped(pid))
        yield wake
    finally:
        wake()
        cluster.etcds[node_id] = etcd


async def attempt(store: Store, name: str) -> str:
    """Write, and return what the caller heard."""
    try:
        await store.update(lambda tx: tx.create(task(name)))
    except NoLeader:
        return "refused"
    except Unavailable:
        return "in doubt"
    return "accepted"


async def hold_leader(
    cluster: Managers, stores: dict[str, Store], stack: AsyncExitStack
) -> tuple[str, Callable[[], None]]:
    """Pause the etcd of a store that leads. Returns the manager, and a function that wakes the etcd."""
    while True:
        old = await lead_first(cluster, stores)
        async with AsyncExitStack() as holding:
            wake = await holding.enter_async_context(paused(cluster, old))
            if stores[old].is_leader:  # on a busy machine it may have lost the lead a moment before
                stack.push_async_exit(holding.pop_all())
                return old, wake


async def check_agreed(stores: dict[str, Store], old: str, name: str, *, happened: bool) -> None:
    """Check that all agree on the result of an old leader's last write, and that the old leader knows that it does not
    lead.
    """
    for store in stores.values():
        await store.catch_up()
        assert (name in ids(store)) == happened
    assert stores[old].deposed.is_set()
    assert not stores[old].is_leader


@pytest.mark.slow
async def test_a_leader_whose_etcd_was_paused_can_write_nothing_when_it_wakes(tmp_path: Path) -> None:
    """The next leader writes its epoch before the pause ends. Then the old leader's write is refused, whatever etcd
    does.
    """
    said: Counter[str] = Counter()
    async with three(tmp_path) as (cluster, stores):
        for number in range(ROUNDS):
            await write(cluster, stores, f"before-{number}")
            name = f"late-{number}"
            async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
                old, wake = await hold_leader(cluster, stores, stack)
                late = group.create_task(attempt(stores[old], name))
                new = await lead_first(cluster, stores)
                assert new != old
                wake()
            said[late.result()] += 1
            assert said["accepted"] == 0
            # It may have heard that its write is in doubt. Then it finds out by itself that the write had no effect.
            async with asyncio.timeout(60):
                await stores[old].deposed.wait()
            await check_agreed(stores, old, name, happened=False)
            assert all(f"before-{number}" in ids(store) for store in stores.values())
    log.info("%d pauses, woken after the new epoch: %s", ROUNDS, dict(said))


@pytest.mark.slow
async def test_a_leader_that_wakes_before_the_next_has_its_epoch_writes_what_that_one_sees_or_nothing(
    tmp_path: Path,
) -> None:
    """Raft has another leader, whose manager has not begun its term. A write is ordered before that term, or fails."""
    said: Counter[str] = Counter()
    async with three(tmp_path) as (cluster, stores):
        for number in range(ROUNDS):
            await write(cluster, stores, f"before-{number}")
            name = f"late-{number}"
            async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
                old, wake = await hold_leader(cluster, stores, stack)
                late = group.create_task(attempt(stores[old], name))
                await cluster.leader()
                wake()
                await asyncio.sleep(random.random() * 0.05)
                new = await lead_first(cluster, stores)
                seen = name in ids(stores[new])
            said[late.result()] += 1
            if new != old:
                await check_agreed(stores, old, name, happened=seen)
                assert seen or late.result() != "accepted"
    log.info("%d pauses, woken before the new epoch: %s", ROUNDS, dict(said))


@pytest.mark.slow
async def test_raft_may_have_another_leader_but_a_write_before_its_epoch_counts_and_one_after_it_does_not(
    tmp_path: Path,
) -> None:
    async with three(tmp_path) as (cluster, stores):
        old = await write(cluster, stores, "before")
        new = await hand_on(cluster, old)
        # Its etcd follows now, and forwards what it gets.
        assert await attempt(stores[old], "late") == "accepted"
        await stores[new].lead()
        assert ids(stores[new]) == {"before", "late"}
        assert await attempt(stores[old], "too late") == "refused"
        await check_agreed(stores, old, "too late", happened=False)
        assert await attempt(stores[new], "after") == "accepted"
        await stores[old].catch_up()
        assert ids(stores[old]) == {"before", "late", "after"}


async def hand_on(cluster: Managers, old: str) -> str:
    """Let another member of etcd lead Raft, and return its manager."""
    new = next(name for name in cluster.etcds if name != old)
    await cluster.etcds[old].client.move_leader((await cluster.etcds[new].client.status()).header.member_id)
    async with asyncio.timeout(60):
        while await cluster.leader() != new:  # noqa: ASYNC110 - as any client would
            await asyncio.sleep(0.005)
    return new


# A leader in a process of its own, so that all of it can be paused. It writes "late" when told to, and prints the
# result.
_DAEMON = """
import asyncio, sys
from pathlib import Path
from shoal.store.etcd_client import EtcdClient
from shoal.store.etcd_process import EtcdProcess
from shoal.store.store import Store
from shoal.store.seal import Sealer
from shoal.errors import Unavailable
from shoal.api import v1 as api

async def main():
    client = EtcdClient(Path(sys.argv[1]))
    async with Store.follow(client, Sealer({1: b"k" * 32}, 1)) as store:
        await store.lead()
        await store.update(lambda tx: tx.create(api.Task(id="before")))
        print("leads", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        try:
            await store.update(lambda tx: tx.create(api.Task(id="late")))
            print("wrote", flush=True)
        except Unavailable as error:
            print(type(error).__name__, store.is_leader, flush=True)
    client.close()

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_leader_that_was_paused_as_a_process_can_write_nothing_when_it_wakes(etcd: EtcdProcess) -> None:
    daemon = await spawning.start(
        *(sys.executable, "-c", _DAEMON, str(etcd.socket)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert daemon.stdin is not None
    assert daemon.stdout is not None
    try:
        assert await daemon.stdout.readline() == b"leads\n"
        daemon.send_signal(signal.SIGSTOP)
        daemon.stdin.write(b"write\n")
        async with Store.open(etcd.client, SEALER) as new:
            await new.update(lambda tx: tx.create(task("after")))
            daemon.send_signal(signal.SIGCONT)
            async with asyncio.timeout(60):
                assert await daemon.stdout.readline() == b"Deposed False\n"
            assert ids(new) == {"before", "after"}
            assert new.is_leader
    finally:
        daemon.send_signal(signal.SIGCONT)
        daemon.stdin.close()
        await daemon.wait()
