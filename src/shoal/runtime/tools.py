"""What all parts that handle containers share: folders and OCI runtime, threads, children, the event bus."""

from dataclasses import dataclass

from shoal.host.events import EventBus
from shoal.runtime.bundle import Site
from shoal.runtime.children import Children
from shoal.runtime.types import Container
from shoal.runtime.workers import Workers


@dataclass(frozen=True, slots=True)
class Tools:
    """One object for all parts. Its maker enters and leaves the contexts in it."""

    site: Site
    workers: Workers
    children: Children
    events: EventBus

    def tell(self, container: Container, action: str, **more: str) -> None:
        """Publish an event of a container."""
        attributes = {**container.config.labels, "image": container.config.image, "name": container.config.name}
        self.events.emit("container", action, container.id, {**attributes, **more})
