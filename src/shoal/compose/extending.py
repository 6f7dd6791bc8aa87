"""`extends`: a service that begins with another one, of this file or of another."""

from collections.abc import Callable
from dataclasses import dataclass, field

from shoal.compose.errors import ComposeError
from shoal.compose.kinds import merged
from shoal.compose.limits import Limits
from shoal.compose.node import OVERRIDE, Node, size
from shoal.compose.service_keys import SERVICE

MAX_CHAIN = 32  # services that extend one another

# Returns the services of a file. In: its path, the node that names it, and that node's key.
Reader = Callable[[str, Node, str], Node]


@dataclass(slots=True)
class Extending:
    """Applies `extends` in one file. `path` is the file's own."""

    services_of: Reader
    path: str
    limits: Limits
    _read: dict[str, Node] = field(default_factory=dict)

    def apply(self, document: Node) -> Node:
        """Return a canonical document in which no service extends another. Raises ComposeError."""
        services = document.get("services")
        if services is None or not any("extends" in each.entries for each in services.entries.values()):
            return document
        done = {name: self._whole(name, services, self.path, ()) for name in services.entries}
        return document.made({**document.entries, "services": services.made(done)})

    def _whole(self, name: str, services: Node, path: str, chain: tuple[tuple[str, str], ...]) -> Node:
        service = services.entries[name]
        extends = service.get("extends")
        key = f"services.{name}.extends"
        if extends is None or extends.value is None:
            return service
        if (path, name) in chain:
            trail = " extends ".join(each for _, each in (*chain[chain.index((path, name)) :], (path, name)))
            raise ComposeError(extends.place, key, f"a service extends itself: {trail}")
        if len(chain) >= MAX_CHAIN:
            raise ComposeError(extends.place, key, f"more than {MAX_CHAIN} services extend one another")
        file, ref = extends.get("file"), str(extends.find("service"))
        others, where = services, path
        if file is not None:
            where = file.value
            if where not in self._read:
                self._read[where] = self.services_of(where, file, f"{key}.file")
            others = self._read[where]
        if ref not in others.entries:
            raise ComposeError(extends.place, key, f"there is no service {ref} in {where}")
        base = self._whole(ref, others, where, (*chain, (path, name)))
        own = {each: found for each, found in service.entries.items() if each != "extends"}
        if service.tag == OVERRIDE or not isinstance(base.value, dict):
            return service.made(own)
        together = merged(SERVICE, base, service.made(own))
        self.limits.count(size(together, self.limits.values_left), extends.place, key)
        return Node(together.value, service.place, service.key_place, service.tag)
