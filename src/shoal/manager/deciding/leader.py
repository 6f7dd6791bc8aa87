"""A leader's term: everything that only the leader does, in one TaskGroup that ends as a whole.

In: the deciders, and the loops of the leader's servers. `shoal.node` decides which ones there are, and when a term
begins and ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoal.manager.bootstrap import FirstLeader, bootstrap
from shoal.manager.deciding import loop
from shoal.manager.deciding.plan import Decider
from shoal.store.memory import Transaction

if TYPE_CHECKING:
    from shoal.store.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Component:
    """A part of the leader that runs beside the deciders until it is cancelled, such as the dispatcher."""

    name: str
    run: Callable[[], Awaitable[None]]


class Leader:
    """The leader's part of a manager.

    `first` describes a swarm that this manager founds or completes; it is None on a manager that joined a swarm. The
    deciders run in the order given, as one cascade.
    """

    def __init__(
        self,
        store: Store,
        deciders: Sequence[Decider],
        components: Sequence[Component] = (),
        *,
        first: FirstLeader | None = None,
        new_id: Callable[[], str],
        random_bytes: Callable[[int], bytes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._deciders = deciders
        self._components = components
        self._first = first
        self._new_id = new_id
        self._random_bytes = random_bytes
        self._clock = clock

    async def run(self) -> None:
        """Lead until cancelled. When a part fails, or the store says that another manager leads, all parts end.

        Raises the cause, in an ExceptionGroup if a part failed.
        """
        await self.found()
        async with asyncio.TaskGroup() as term:
            term.create_task(loop.run(self._deciders, self._store, clock=self._clock), name="deciders")
            for component in self._components:
                term.create_task(_run(component), name=component.name)

    async def found(self) -> None:
        """Write the objects that every swarm has and this one lacks. May be repeated."""
        first = self._first
        if first is None:
            return

        def write(transaction: Transaction) -> int:
            changes = bootstrap(transaction, first, new_id=self._new_id, random_bytes=self._random_bytes)
            transaction.apply(changes)
            return len(changes)

        if await self._store.update(write):
            logger.info("swarm %s has what it begins with", first.cluster_id)


async def _run(component: Component) -> None:
    await component.run()
