"""Images for tasks: which are fetched now, a few at a time, and each only once however many tasks wait for it."""

import asyncio
import logging

from shoal.agent.executor import must_pull
from shoal.agent.runtime import Images
from shoal.errors import NotFound, ShoalError
from shoal.runtime.image_types import RegistryAuth, parse_registry_auth
from shoal.runtime.types import Image

log = logging.getLogger(__name__)

PARALLEL_PULLS = 3  # dockerd's max-concurrent-downloads; each is a process and a share of the line


class _Pull:
    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.error = ""


class Pulls:
    """The pulls of an agent. They run in the group given, so that a task that stops waiting does not stop a pull."""

    def __init__(self, images: Images, group: asyncio.TaskGroup) -> None:
        self._images = images
        self._group = group
        self._slots = asyncio.Semaphore(PARALLEL_PULLS)
        self._running: dict[tuple[str, str], _Pull] = {}

    async def ensure(self, reference: str, encoded_auth: str) -> None:
        """Return when the image is here; raise with the registry's words when it cannot be had.

        A pull that fails does not matter as long as some image of that name is here (moby's controller, `Prepare`).
        """
        if not must_pull(reference, self._present(reference)):
            return
        key = (reference, encoded_auth)
        pull = self._running.get(key)
        if pull is None:
            pull = self._running[key] = _Pull()
            self._group.create_task(self._pull(key, pull), name=f"pull {reference}")
        await pull.done.wait()
        if pull.error and self._present(reference) is None:
            # Docker names the image alone, and only its daemon's log says why it could not be had.
            raise ShoalError(f"No such image: {reference} ({pull.error})")

    async def _pull(self, key: tuple[str, str], pull: _Pull) -> None:
        reference, encoded_auth = key
        try:
            async with self._slots:
                await self._images.pull(reference, self._auth(encoded_auth), None)
        except (ShoalError, OSError) as error:
            log.warning("pulling image %s failed: %s", reference, error)
            pull.error = str(error)
        finally:
            del self._running[key]
            pull.done.set()

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
