"""Three managers with random faults from a seed: nothing acknowledged is lost, nothing happens twice, all agree."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from shoal.errors import Conflict, Unavailable
from shoal.store.changes import Event, copy
from shoal.store.leadership import LeaderWatch
from shoal.store.memory import Transaction
from shoal.store.seal import Sealer
from shoal.store.store import Store
from tests.unit.store.objects import service, task
from tests.unit.store.relay import Managers, managers

SEALER = Sealer({1: b"k" * 32}, 1)
NODES = ("a" * 25, "b" * 25, "c" * 25)


async def take_turns(store: Store, watch: LeaderWatch) -> None:
    """Lead when Raft says so, as a manager does."""
    while True:
        await watch.wait(leads=True)
        try:
            await store.lead()
        except Unavailable:
            await asyncio.sleep(0.02)
            continue
        async with asyncio.TaskGroup() as group:
            ends = [group.create_task(watch.wait(leads=False)), group.create_task(store.deposed.wait())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
        await store.step_down()


def count(transaction: Transaction, name: str) -> None:
    """Make a task, and count it in an object that all clients share."""
    transaction.create(task(name))
    counter = copy(transaction.services.get("counter") or service("counter"))
    counter.spec.annotations.labels["n"] = str(int(counter.spec.annotations.labels.get("n", "0")) + 1)
    if transaction.services.get("counter") is None:
        transaction.create(counter)
    else:
        transaction.update(counter)


class Client:
    """Writes tasks with names of its own, each until the present leader acknowledges it."""

    def __init__(self, name: str, stores: dict[str, Store]) -> None:
        self._name = name
        self._stores = stores
        self.acknowledged: list[str] = []
        self.retried = 0

    async def write(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            name = f"{self._name}{len(self.acknowledged)}"
            while not await self._try(name):
                self.retried += 1
                await asyncio.sleep(0.02)
            self.acknowledged.append(name)
            await asyncio.sleep(0.002)

    async def _try(self, name: str) -> bool:
        leaders = [store for store in self._stores.values() if store.is_leader]
        if not leaders:
            return False
        try:
            await leaders[-1].update(lambda transaction: count(transaction, name))
        except Conflict:  # an earlier attempt did take effect
            return True
        except Unavailable:
            return False
        return True


class Listener:
    """Builds its state only from the events that it hears."""

    def __init__(self) -> None:
        self.tasks: set[str] = set()
        self.wrong: list[str] = []

    def hear(self, events: list[Event]) -> None:
        for event in events:
            if event.action == "create":
                if event.obj.id in self.tasks:
                    self.wrong.append(event.obj.id)
                self.tasks.add(event.obj.id)


async def hurt(cluster: Managers, rng: Random) -> str:
    """Make one manager fail for a while, and repair it. Returns the kind of fault."""
    node_id = rng.choice(NODES)
    pid = cluster.etcds[node_id].pid
    harm = rng.choice(("kill", "pause", "cut"))
    if harm == "cut":
        cluster.relay.cut(node_id)
    elif pid is not None:
        os.kill(pid, signal.SIGKILL if harm == "kill" else signal.SIGSTOP)
    await asyncio.sleep(rng.uniform(0.2, 1.2))
    cluster.relay.heal()
    if harm == "pause" and pid is not None:
        os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(rng.uniform(0.1, 0.8))
    return harm


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_acknowledged_is_lost_or_doubled_whatever_happens_to_managers(tmp_path: Path, seed: int) -> None:
    rng, stop = Random(seed), asyncio.Event()
    async with managers(tmp_path, *NODES) as cluster, AsyncExitStack() as stack:
        stores = {
            node_id: await stack.enter_async_context(Store.follow(etcd.client, SEALER))
            for node_id, etcd in cluster.etcds.items()
        }
        watches = {node_id: LeaderWatch(etcd) for node_id, etcd in cluster.etcds.items()}
        heard = {node_id: stack.enter_context(store.watch()) for node_id, store in stores.items()}
        clients = [Client(name, stores) for name in "xyz"]
        harms: list[str] = []
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(watch.run()) for watch in watches.values()]
            loops += [group.create_task(take_turns(stores[node_id], watches[node_id])) for node_id in NODES]
            async with asyncio.TaskGroup() as writers:
                for client in clients:
                    writers.create_task(client.write(stop))
                for _ in range(6):
                    harms.append(await hurt(cluster, rng))  # noqa: PERF401 - one after the other
                stop.set()
            for store in stores.values():
                async with asyncio.timeout(60):
                    while True:
                        try:
                            await store.catch_up()
                            break
                        except Unavailable:
                            await asyncio.sleep(0.05)
            for loop in loops:
                loop.cancel()
        assert len(set(harms)) > 1
        assert sum(client.retried for client in clients)
        acknowledged = {name for client in clients for name in client.acknowledged}
        assert len(acknowledged) > 100
        for node_id, store in stores.items():
            assert {each.id for each in store.view().tasks.all()} == acknowledged
            counter = store.view().services.get("counter")
            assert counter is not None
            assert counter.spec.annotations.labels["n"] == str(len(acknowledged))
            listener = Listener()
            listener.hear(heard[node_id].pending())
            assert listener.tasks == acknowledged | {"counter"}
            assert listener.wrong == []
