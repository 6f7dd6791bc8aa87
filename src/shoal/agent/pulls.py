"""Pulls images for tasks. Tasks that need the same image with the same credentials share one pull.

The runtime limits how many pulls run at once. A pull is cancelled when no task waits for it any more.
"""

import asyncio
import logging

from shoal.agent.executor import must_pull
from shoal.agent.runtime import Images
from shoal.api.options import PREFIX, PULL_NEVER
from shoal.errors import NotFound, ShoalError
from shoal.runtime.image_types import RegistryAuth, parse_registry_auth
from shoal.runtime.types import Image

log = logging.getLogger(__name__)


class _Pull:
    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.error = ""
        self.waiting = 0  # tasks
        self.child: asyncio.Task[None] | None = None


class Pulls:
    """The pulls of an agent. They run in `group`, so a task that stops waiting does not end a pull of other tasks."""

    def __init__(self, images: Images, group: asyncio.TaskGroup) -> None:
        self._images = images
        self._group = group
        self._running: dict[tuple[str, str], _Pull] = {}

    async def ensure(self, reference: str, encoded_auth: str, policy: str = "") -> None:
        """Return when the image is on this node. Raises ShoalError with the registry's words when it cannot be pulled.

        A failed pull is no error while an image of that name is on this node (moby's controller, `Prepare`).
        """
        if not must_pull(reference, self._present(reference), policy):
            if policy == PULL_NEVER and self._present(reference) is None:
                raise ShoalError(f"No such image: {reference} (the service's label {PREFIX}pull says never)")
            return
        key = (reference, encoded_auth)
        pull = self._running.get(key)
        if pull is None:
            pull = self._running[key] = _Pull()
            pull.child = self._group.create_task(self._pull(key, pull), name=f"pull {reference}")
        pull.waiting += 1
        try:
            await pull.done.wait()
        finally:
            pull.waiting -= 1
            if not pull.waiting:
                self._abandon(key, pull)
        if pull.error and self._present(reference) is None:
            # Docker's text ends after the image's name; only its daemon's log has the reason.
            raise ShoalError(f"No such image: {reference} ({pull.error})")

    async def _pull(self, key: tuple[str, str], pull: _Pull) -> None:
        reference, encoded_auth = key
        try:
            await self._images.pull(reference, self._auth(encoded_auth), None)
        except (ShoalError, OSError) as error:
            log.warning("pulling image %s failed: %s", reference, error)
            pull.error = str(error)
        except Exception as error:  # a hostile image must not end the agent
            log.exception("pulling image %s failed", reference)
            pull.error = f"{type(error).__name__}: {error}"
        finally:
            self._forget(key, pull)
            pull.done.set()

    def _abandon(self, key: tuple[str, str], pull: _Pull) -> None:
        """Cancel a pull that nobody waits for. The next `ensure` starts a new one, even while this one still ends."""
        self._forget(key, pull)
        if pull.child is not None and not pull.done.is_set():
            pull.child.cancel()

    def _forget(self, key: tuple[str, str], pull: _Pull) -> None:
        if self._running.get(key) is pull:
            del self._running[key]

    def _auth(self, encoded: str) -> RegistryAuth | None:
        try:
            return parse_registry_auth(encoded)
        except ShoalError as error:
            # Docker too goes on without credentials, and the registry then says that they are missing.
            log.warning("credentials of a task are not readable: %s", error)
            return None

    def _present(self, reference: str) -> Image | None:
        try:
            return self._images.get(reference)
        except NotFound:
            return None
