"""All containers of this host, and how to find one: by its id, its name, or a unique prefix of its id.

A name is reserved before the container is created, so that no other one gets it meanwhile. No I/O.
"""

from collections.abc import Iterator

from shoal.errors import Conflict, InvalidArgument, NotFound
from shoal.runtime.life import Life
from shoal.runtime.types import Container, Phase

Containers = list[Container]  # inside the class `list` is a method


class Roster:
    """All containers of this daemon."""

    def __init__(self) -> None:
        self._lives: dict[str, Life] = {}
        self._names: dict[str, str] = {}

    def __iter__(self) -> Iterator[Life]:
        return iter(self._lives.values())

    def by_id(self, id: str) -> Life | None:  # noqa: A002 - a container's id
        """Return the container with exactly this id, or None."""
        return self._lives.get(id)

    def find(self, ref: str) -> Life:
        """Return a container. Raises NotFound, or InvalidArgument for a prefix of several ids."""
        name = ref.removeprefix("/")
        found = self._lives.get(name) or self._lives.get(self._names.get(name, ""))
        if found is not None:
            return found
        matching = [known for known in self._lives if name and known.startswith(name)]
        if len(matching) == 1:
            return self._lives[matching[0]]
        if matching:
            raise InvalidArgument(f"multiple IDs found with provided prefix: {ref}")
        raise NotFound(f"No such container: {ref}")

    def running(self, ref: str) -> Life:
        """Return a running container. Raises Conflict if it does not run, and the errors of `find`."""
        life = self.find(ref)
        if life.value.phase is not Phase.RUNNING:
            raise Conflict(f"container {life.value.id} is not running")
        return life

    def list(self) -> Containers:
        """Return all containers, newest first."""
        return sorted((life.value for life in self), key=lambda one: -one.created_at)

    def take_name(self, name: str, id: str) -> None:  # noqa: A002
        """Reserve a name for a new container. Raises Conflict if another container has it."""
        holder = self._names.get(name)
        if holder is not None:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )
        self._names[name] = id

    def give_name_back(self, name: str, id: str) -> None:  # noqa: A002
        """Undo `take_name`. Does nothing if another container has the name."""
        if self._names.get(name) == id:
            del self._names[name]

    def add(self, life: Life) -> None:
        """Add a container."""
        self._lives[life.value.id] = life
        self._names[life.value.config.name] = life.value.id

    def remove(self, container: Container) -> None:
        """Remove a container, and free its name."""
        del self._lives[container.id]
        self.give_name_back(container.config.name, container.id)
