"""What the agent needs of the node's container runtime, and no more. `shoal.runtime` has it.

All names and ids may be an id, a name, or a unique prefix of an id. Errors are `shoal.errors`, with Docker's words.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from shoal.runtime.image_types import Progress, RegistryAuth
from shoal.runtime.types import Container, ContainerConfig, Image, LogLine, LogOptions

T = TypeVar("T")


@asynccontextmanager
async def closing(iterator: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close a generator as soon as its reader has had enough, and not when it is collected."""
    try:
        yield iterator
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


class Containers(Protocol):
    """Containers of this node. All but `list` and `get` wait for the host."""

    def list(self) -> list[Container]:
        """Return every container there is."""

    def get(self, ref: str) -> Container:
        """Return one container, or raise NotFound."""

    async def create(self, config: ContainerConfig, *, id: str | None = None) -> Container:  # noqa: A002
        """Make a container; one that has this id already is returned as it is. Conflict when the name is taken."""

    async def start(self, ref: str) -> Container:
        """Return when the process runs. What cannot be run is an error with Docker's words."""

    async def stop(self, ref: str, timeout: float | None = None) -> None:
        """Send the stop signal, then kill; return when the container has ended."""

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container; `volumes` removes its anonymous ones with it."""

    def changes(self, ref: str) -> AsyncIterator[Container]:
        """Yield the present value, then each new one, until the container is removed."""

    def logs(self, ref: str, options: LogOptions) -> AsyncIterator[LogLine]:
        """Yield lines of the container's output."""


class Images(Protocol):
    """Images of this node."""

    def get(self, ref: str) -> Image:
        """Return one image, or raise NotFound."""

    async def pull(self, ref: str, auth: RegistryAuth | None, progress: Callable[[Progress], None] | None) -> Image:
        """Fetch an image from its registry."""


class Runtime(Protocol):
    """Both of them."""

    @property
    def containers(self) -> Containers:
        """The containers."""

    @property
    def images(self) -> Images:
        """The images."""
