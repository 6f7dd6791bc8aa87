"""What leaders may still write that have lost the lead without knowing it, in virtual time.

The stores are real, the etcd is simulated. Everything random comes from the seed. SHOAL_SIMULATIONS sets the number of
stories.
"""

import asyncio
import os
import random
from collections import Counter

import pytest

from shoal.api import v1 as api
from shoal.errors import NoLeader, Unavailable
from shoal.store.journal import EPOCH
from shoal.store.seal import Sealer
from shoal.store.store import Store
from tests.simulation.etcds import Etcds
from tests.simulation.processes import VirtualLoop

SEEDS = max(20, int(os.environ.get("SHOAL_SIMULATIONS", "0")))
HOSTS = ["a", "b", "c"]
SECONDS = 40.0
TASKS = b"objects/tasks/"


class Story:
    """Three managers that write whenever they believe that they lead, while members of etcd are paused and elected."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.rng = random.Random(seed)
        self.etcds = Etcds(loop, self.rng, HOSTS, lambda one, other: False)
        self.etcds.doubt = self.rng.choice((0.0, 0.2))
        self.stores: dict[str, Store] = {}
        self.heard: Counter[str] = Counter()
        self.acknowledged: set[str] = set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            children = [group.create_task(self.etcds.run()), group.create_task(self.disturb())]
            children += [group.create_task(self.manage(host)) for host in HOSTS]
            await asyncio.sleep(SECONDS)
            children[1].cancel()
            self.etcds.doubt = 0.0
            for member in self.etcds.members.values():
                member.is_frozen = False
            await asyncio.sleep(15.0)  # time for doubts to be settled and late messages to arrive
            self.check_log()
            await self.check_views()
            for child in children:
                child.cancel()

    async def disturb(self) -> None:
        """Pause a member, mostly the leader, or let another one win an election."""
        while True:
            await asyncio.sleep(self.rng.uniform(0.05, 3.0))
            leader = self.etcds.leader
            if self.rng.random() < 0.4:
                self.etcds.lead(self.etcds.members[self.rng.choice(HOSTS)])
            elif leader is not None:
                leader.is_frozen = True
                self.heard["paused"] += 1
                await asyncio.sleep(self.rng.uniform(0.05, 8.0))
                leader.is_frozen = False
                leader.hear()

    async def manage(self, host: str) -> None:
        member = self.etcds.members[host]
        async with Store.follow(member, Sealer({1: b"k" * 32}, 1)) as store:  # type: ignore[arg-type]
            self.stores[host] = store
            while True:
                await asyncio.sleep(self.rng.uniform(0.0, 0.6))
                try:
                    await store.lead()
                except Unavailable:
                    continue
                self.check_sees_all(store)
                await self.write(host, store)

    async def write(self, host: str, store: Store) -> None:
        """Write until a write is refused because another one leads, as a leader does that hears it from nobody else."""
        for number in range(10_000):
            name = f"{host}-{store._journal._epoch}-{number}"
            try:
                await store.update(lambda tx: tx.create(api.Task(id=name)))  # noqa: B023
            except NoLeader:
                self.heard["refused"] += 1
                if not store.is_leader:
                    return
            except Unavailable:
                self.heard["in doubt"] += 1
            else:
                self.acknowledged.add(name)
            await asyncio.sleep(self.rng.uniform(0.0, 0.3))

    # What must hold.

    def check_sees_all(self, store: Store) -> None:
        """Check that a leader sees all that was written before its epoch, and so all that was acknowledged before."""
        seen = {each.id for each in store.view().tasks.all()}
        epoch = store._journal._epoch
        before = {
            event.kv.key.removeprefix(TASKS).decode()
            for revision, events in self.etcds.log
            for event in events
            if revision < epoch and event.kv.key.startswith(TASKS)
        }
        assert before <= seen
        assert {name for name in self.acknowledged if int(name.split("-")[1]) < epoch} <= seen

    def check_log(self) -> None:
        """Check that between an epoch and the next one only the leader that wrote the epoch writes."""
        epoch = 0
        for revision, events in self.etcds.log:
            for event in events:
                if event.kv.key == EPOCH:
                    epoch = revision
                elif event.kv.key.startswith(TASKS):
                    assert int(event.kv.key.split(b"-")[1]) == epoch
                    self.heard["written"] += 1

    async def check_views(self) -> None:
        """Check that all members have what was acknowledged."""
        for store in self.stores.values():
            await store.catch_up()
            assert self.acknowledged <= {each.id for each in store.view().tasks.all()}


def tell(seed: int) -> Story:
    loop = VirtualLoop()
    story = Story(loop, seed)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(story.run())
    return story


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_between_two_epochs_only_the_writer_of_the_first_writes(first: int) -> None:
    heard: Counter[str] = Counter()
    for seed in range(first, first + 10):
        heard += tell(seed).heard
    assert all(heard[what] > 10 for what in ("paused", "refused", "in doubt", "written")), heard
