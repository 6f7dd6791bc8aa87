"""Decides which containers a list shows. Source of the rules and texts: moby daemon/list.go.

In: the containers, newest first, the filters, and a way to find images. Out: the chosen ones in the same order.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shoal.engine.container_json import labels
from shoal.engine.requests import Filters
from shoal.errors import InvalidArgument, NotFound
from shoal.runtime.types import Container, Image, Phase

ACCEPTED = frozenset(
    {
        "ancestor",
        "before",
        "exited",
        "expose",
        "health",
        "id",
        "is-task",
        "isolation",
        "label",
        "name",
        "network",
        "publish",
        "since",
        "status",
        "volume",
    }
)
TASK_LABEL = "com.docker.swarm.task.id"

_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_HEALTHS = ("none", "starting", "healthy", "unhealthy")
_PORTS = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?(/(tcp|udp|sctp))?")


@dataclass(slots=True)
class ImageFinder:
    """Finds images by name or id. It looks up each once, for the time of one call."""

    get: Callable[[str], Image]
    _known: dict[str, Image | None] = field(default_factory=dict)

    def find(self, ref: str) -> Image | None:
        """Return an image, or None."""
        if ref not in self._known:
            try:
                self._known[ref] = self.get(ref)
            except (NotFound, InvalidArgument):
                self._known[ref] = None  # it was removed by force while the container stayed, or was never here
        return self._known[ref]


def check(filters: Filters) -> None:
    """Raise InvalidArgument for values that no container can have."""
    filters.flag("is-task")
    for code in filters.get("exited"):
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", code):
            raise InvalidArgument(f"invalid filter 'exited={code}': strconv.Atoi: parsing \"{code}\": invalid syntax")
    for state in filters.get("status"):
        if state not in _STATES:
            raise InvalidArgument(
                f"invalid filter 'status={state}': invalid value for state ({state}): must be one of "
                f"{', '.join(_STATES)}"
            )
    for health in filters.get("health"):
        if health not in _HEALTHS:
            raise InvalidArgument(
                f"invalid filter 'health={health}': invalid value for health ({health}): must be one of "
                f"{', '.join(_HEALTHS)}"
            )
    for key in ("publish", "expose"):
        for value in filters.get(key):
            if ":" in value:
                raise InvalidArgument(f"filter for '{key}' should not contain ':': {value}")
            if not _PORTS.fullmatch(value):
                raise InvalidArgument(f"error while looking up for {key} {value}: invalid port range")


def choose(
    containers: Sequence[Container],
    filters: Filters,
    images: ImageFinder,
    get: Callable[[str], Container],
    *,
    stopped: bool,
) -> list[Container]:
    """Return the containers that pass the filters. With `stopped`, also those that do not run.

    Raises InvalidArgument, and NotFound for an unknown `before` or `since`.
    """
    check(filters)
    stopped = stopped or "status" in filters
    found = _between(containers, filters, get)
    wanted_ids = _by_prefix(containers, filters)
    ancestors = {image.id for name in filters.get("ancestor") if (image := images.find(name))}
    return [
        container
        for container in found
        if (stopped or container.phase is Phase.RUNNING)
        and (wanted_ids is None or container.id in wanted_ids)
        and ("ancestor" not in filters or container.image_id in ancestors)
        and _matches(container, filters, images)
    ]


def _between(containers: Sequence[Container], filters: Filters, get: Callable[[str], Container]) -> list[Container]:
    """Keep the containers after the one of `before` in the list, and those before the one of `since`."""
    found = list(containers)
    for ref in filters.get("before"):
        last = get(ref).id
        at = next((place for place, container in enumerate(found) if container.id == last), len(found))
        found = found[at + 1 :]
    for ref in filters.get("since"):
        first = get(ref).id
        at = next((place for place, container in enumerate(found) if container.id == first), len(found))
        found = found[:at]
    return found


def _by_prefix(containers: Sequence[Container], filters: Filters) -> set[str] | None:
    """Return the ids for the filter `id`: those of which a value is a unique prefix. None without that filter."""
    if not filters.get("id"):
        return None
    found = set()
    for prefix in filters.get("id"):
        matching = [container.id for container in containers if prefix and container.id.startswith(prefix)]
        if len(matching) == 1:
            found.add(matching[0])
    return found


def _matches(container: Container, filters: Filters, images: ImageFinder) -> bool:
    if not filters:
        return True
    config = container.config
    return (
        (filters.pattern("name", config.name) or filters.pattern("name", f"/{config.name}"))
        and (not filters.get("label") or filters.labels("label", labels(container, images.find(container.image_id))))
        and filters.exact("status", container.phase.value)
        and filters.exact("health", container.health.value)
        and _exited(container, filters)
        and ("is-task" not in filters or filters.flag("is-task") == (TASK_LABEL in config.labels))
        and ("network" not in filters or _has_network(container, filters))
        and ("volume" not in filters or _has_volume(container, filters))
        # Shoal's containers publish and expose no ports themselves; the ports of services belong to the swarm.
        and not (filters.get("publish") or filters.get("expose"))
    )


def _exited(container: Container, filters: Filters) -> bool:
    codes = {int(code) for code in filters.get("exited")}
    return not codes or (container.phase is Phase.EXITED and container.exit_code in codes)


def _has_network(container: Container, filters: Filters) -> bool:
    endpoints = container.sandbox.endpoints
    names = {container.config.network, *(endpoint.network_name for endpoint in endpoints)}
    return any(
        name in names or any(endpoint.network_id.startswith(name) for endpoint in endpoints)
        for name in filters.get("network")
    )


def _has_volume(container: Container, filters: Filters) -> bool:
    names = {
        name
        for mount in container.mounts
        for name in (mount.source or container.mount_sources.get(mount.target, ""), mount.target)
    }
    return bool(names & set(filters.get("volume")))
