"""One stay in a swarm, from the first attempt to the end. It is started again when it fails.

In: a function that makes this host a node (by founding, joining, or reading the files). Out: a running membership, or
an error. The wait between attempts grows. Damaged files and managers that refuse end the attempts until a user acts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from grpclib.const import Status

from shoal.errors import DamagedState, InvariantBroken, RpcError, ShoalError
from shoal.node.membership import Membership, NodeRemoved

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0  # seconds before another start, as in moby (daemon/cluster)
_UNREACHABLE = (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED)

Enter = Callable[[], Awaitable[Membership]]


class Stay:
    """A membership and the child that runs it.

    `asked`: a caller waits for the first attempt. If that fails, the caller gets the error and there is no other
    attempt. `ready` is called whenever the node is up.
    """

    def __init__(
        self, enter: Enter | None = None, *, asked: bool = False, ready: Callable[[Membership], None] = lambda _: None
    ) -> None:
        self.membership: Membership | None = None
        self.error = ""
        self.refusal = ""
        self.settled = asyncio.Event()
        """Set once the node is up, or has failed for the first time."""
        self._enter = enter
        self._asked = asked
        self._ready = ready
        self._child: asyncio.Task[None] | None = None

    @classmethod
    def failed(cls, error: str, refusal: str = "") -> "Stay":
        """Return a stay that cannot begin, because of `error`. `refusal` answers calls that manage the swarm."""
        stay = cls()
        stay.error, stay.refusal = error, refusal
        stay.settled.set()
        return stay

    def begin(self, group: asyncio.TaskGroup) -> asyncio.Future[None]:
        """Start. The future is done when the node is up; with `asked` it gets the error of a failed first attempt."""
        up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._child = group.create_task(self._live(up), name="membership")
        return up

    async def end(self) -> None:
        """Cancel the child and wait for its end."""
        if self._child is not None:
            self._child.cancel()
            await asyncio.wait([self._child])

    async def _live(self, up: asyncio.Future[None]) -> None:
        pause = FIRST_PAUSE

        def started() -> None:
            nonlocal pause
            pause, self.error = FIRST_PAUSE, ""
            if self.membership is not None:
                self._ready(self.membership)
            self.settled.set()
            if not up.done():
                up.set_result(None)

        while True:
            try:
                if self.membership is None:
                    assert self._enter is not None
                    self.membership = await self._enter()
                await self.membership.run(started)
                return
            except* Exception as group:  # supervised: a failure of the node must not end the API or the daemon
                error = _first(group)
                if not isinstance(error, ShoalError | OSError):
                    log.exception("this node's part in the swarm failed", exc_info=group)
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                # A TaskGroup whose children fail while it is cancelled raises only their failures.
                raise asyncio.CancelledError
            self.error = str(error) or type(error).__name__
            self.settled.set()
            if self._asked and not up.done():
                up.set_exception(error)
                return  # the caller gets the error, and ends this stay
            if self._is_final(error):
                log.error("this node stays out of the swarm until somebody has looked: %s", error)
                return
            log.warning("this node's part in the swarm failed and starts again in %g s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _is_final(self, error: Exception) -> bool:
        """Return whether only a user can repair this: a damaged file, a removed node, a join that was refused."""
        if self.membership is not None:
            return isinstance(error, DamagedState | NodeRemoved)
        return not (isinstance(error, RpcError) and error.grpc_status in _UNREACHABLE)


def _first(group: BaseExceptionGroup[BaseException]) -> Exception:
    """Return the first error inside nested groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, Exception) else InvariantBroken(str(error))
