"""The part of the node's container runtime that the agent uses. `shoal.runtime` implements it.

A `ref` is an id, a name, or a unique prefix of an id. Errors are those of `shoal.errors`, with Docker's words.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from shoal.agent.networks import Overlays
from shoal.runtime.image_types import Progress, RegistryAuth
from shoal.runtime.types import Container, ContainerConfig, Image, LogLine, LogOptions, SecretFile
from shoal.runtime.waits import Waits

T = TypeVar("T")


@asynccontextmanager
async def closing(iterator: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close a generator when its reader leaves the context, not when it is garbage-collected."""
    try:
        yield iterator
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


class Containers(Protocol):
    """Containers of this node. `list` and `get` answer from memory; the others wait for the host."""

    def list(self) -> list[Container]:
        """Return every container."""

    def get(self, ref: str) -> Container:
        """Return one container, or raise NotFound."""

    async def create(
        self,
        config: ContainerConfig,
        *,
        id: str | None = None,  # noqa: A002
        waits: Waits = ...,
    ) -> Container:
        """Create a container, or return the one that has this id. Raises Conflict when the name is taken."""

    async def start(self, ref: str, files: Sequence[SecretFile] = (), *, waits: Waits = ...) -> Container:
        """Return when the process runs, with these secrets and configs. Raises ShoalError when it cannot be started."""

    async def activate(self, ref: str) -> None:
        """Let names and load balancers of its overlays lead to a container."""

    async def deactivate(self, ref: str) -> None:
        """Let no name and no new connection lead to a container any more. The wait for the other nodes is bounded."""

    async def stop(self, ref: str, timeout: float | None = None) -> None:
        """Send the stop signal, kill after `timeout` seconds, and return when the container has ended."""

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container; with `volumes` also its anonymous volumes."""

    def changes(self, ref: str) -> AsyncIterator[Container]:
        """Yield the container as it is now, then after each change, until it is removed."""

    def logs(self, ref: str, options: LogOptions) -> AsyncIterator[LogLine]:
        """Yield lines of the container's output."""


class Images(Protocol):
    """Images of this node."""

    def get(self, ref: str) -> Image:
        """Return one image, or raise NotFound."""

    async def pull(self, ref: str, auth: RegistryAuth | None, progress: Callable[[Progress], None] | None) -> Image:
        """Fetch an image from its registry."""


class SeenOverlays(Overlays, Protocol):
    """Overlays that can be looked into."""

    async def view(self, network: str) -> dict[str, Any]:
        """Return what there is of a network on this node, or why there is nothing."""


class Runtime(Protocol):
    """What a node gives its agent."""

    @property
    def containers(self) -> Containers:
        """The containers."""

    @property
    def images(self) -> Images:
        """The images."""

    @property
    def overlays(self) -> SeenOverlays:
        """The overlay networks."""
