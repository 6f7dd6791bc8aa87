"""The loop that runs deciders: subscribe, read, decide, commit, log, sleep until the next look or change.

It knows transactions, retries and time, and nothing about services. A pass runs inside `Store.update`, so it decides on
the newest data and its changes cannot be out of date. A pass that changes nothing costs no write.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from shoal.errors import Unavailable
from shoal.manager.deciding.cascade import Cascade, DeciderFailed, Outcome
from shoal.manager.deciding.plan import Decider
from shoal.store.changes import Event
from shoal.store.memory import Transaction
from shoal.store.watch import Watch, WatchLagged

if TYPE_CHECKING:
    from shoal.store.store import Store

logger = logging.getLogger(__name__)

# Seconds to pause when a pass changed nothing and a decider wants to be called again at once. Without the pause a bug
# in a decider would use a whole core.
MIN_PAUSE = 0.02
# Seconds after which a sleeping loop looks at the clock again, because somebody may set the wall clock.
MAX_SLEEP = 60.0
LOGGED_FAILURES = frozenset({1, 10, 100, 1000, 10_000})  # which failures in a row of one decider are logged
FIRST_RETRY = 0.05  # seconds between passes without a quorum, at first
LAST_RETRY = 2.0  # seconds, at most


async def run(deciders: Iterable[Decider], store: Store, *, clock: Callable[[], float] = time.time) -> None:
    """Run deciders as one cascade until cancelled.

    When a decider raises, the error is logged, the decider is not called for a while, and the others go on. Without a
    quorum the cascade waits and then reads everything again. `clock` returns seconds since 1970.
    """
    cascade = Cascade(deciders)
    while True:
        cascade.forget()
        with store.watch(*cascade.kinds) as watch:
            try:
                await _drive(cascade, store, watch, clock)
            except WatchLagged:
                logger.warning("more changed at once than the manager's queue holds; reading everything again")


async def _drive(cascade: Cascade, store: Store, watch: Watch, clock: Callable[[], float]) -> None:
    retry = FIRST_RETRY
    while True:
        if cascade.is_due(clock()):
            outcome = await _pass(cascade, store, watch, clock)
            if outcome is None:
                await asyncio.sleep(retry)
                retry = min(LAST_RETRY, retry * 2)
                cascade.tell(watch.pending())  # raises when the store says that this manager leads no more
                continue
            retry = FIRST_RETRY
            if outcome.staged == 0 and cascade.is_due(clock()):
                await asyncio.sleep(MIN_PAUSE)
        cascade.tell(await _wait_events(cascade, watch, clock))


async def _pass(cascade: Cascade, store: Store, watch: Watch, clock: Callable[[], float]) -> Outcome | None:
    """Run and commit one pass. Return None when there was no quorum to commit it."""

    def decide(transaction: Transaction) -> Outcome:
        # The store may have committed more while this pass waited for its turn. The deciders must know those changes.
        cascade.tell(watch.pending())
        return cascade.run(transaction, clock())

    try:
        outcome = await store.update(decide)
    except DeciderFailed as failure:
        delay, times = cascade.excuse(failure.decider, clock())
        if times in LOGGED_FAILURES:
            logger.error("%s (%d in a row); it is tried again in %.1f s", failure, times, delay, exc_info=failure)
        return Outcome(staged=1)
    except Unavailable as error:
        cascade.forget()
        logger.debug("a pass was not committed: %s", error)
        return None
    cascade.settle(clock())
    for note in outcome.notes:
        logger.info("%s", note)
    return outcome


async def _wait_events(cascade: Cascade, watch: Watch, clock: Callable[[], float]) -> list[Event]:
    """Return committed changes as soon as there are any, or an empty list when a decider asked to be called by now."""
    pending = watch.pending()
    if pending:
        return pending
    look = cascade.next_look()
    delay = None if look is None else min(MAX_SLEEP, look - clock())
    if delay is not None and delay <= 0:
        return []
    try:
        async with asyncio.timeout(delay):
            return await watch.next()
    except TimeoutError:
        return []
