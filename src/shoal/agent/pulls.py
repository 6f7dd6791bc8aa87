"""Images for tasks: which are fetched now, and each only once however many tasks wait for it.

How many at a time is the runtime's to say. A pull that no task waits for any more is cancelled.
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
    """The pulls of an agent. They run in the group given, so that a task that stops waiting stops no other's pull."""

    def __init__(self, images: Images, group: asyncio.TaskGroup) -> None:
        self._images = images
        self._group = group
        self._running: dict[tuple[str, str], _Pull] = {}

    async def ensure(self, reference: str, encoded_auth: str, policy: str = "") -> None:
        """Return when the image is here; raise with the registry's words when it cannot be had.

        A pull that fails does not matter as long as some image of that name is here (moby's controller, `Prepare`).
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
            # Docker names the image alone, and only its daemon's log says why it could not be had.
            raise ShoalError(f"No such image: {reference} ({pull.error})")

    async def _pull(self, key: tuple[str, str], pull: _Pull) -> None:
        reference, encoded_auth = key
        try:
            await self._images.pull(reference, self._auth(encoded_auth), None)
        except (ShoalError, OSError) as error:
            log.warning("pulling image %s failed: %s", reference, error)
            pull.error = str(error)
        except Exception as error:  # what an image says must not end the agent, and with it all tasks
            log.exception("pulling image %s failed", reference)
            pull.error = f"{type(error).__name__}: {error}"
        finally:
            self._forget(key, pull)
            pull.done.set()

    def _abandon(self, key: tuple[str, str], pull: _Pull) -> None:
        """Nobody waits for it. Who wants the image from now on begins anew, also while this one still ends."""
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
            # As in Docker: without credentials the registry itself says what it lacks.
            log.warning("credentials of a task are not readable: %s", error)
            return None

    def _present(self, reference: str) -> Image | None:
        try:
            return self._images.get(reference)
        except NotFound:
            return None
