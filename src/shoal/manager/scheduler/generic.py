"""Generic resources (GPUs, FPGAs, ...): what a node has left, and what a task takes from it.

For each kind a node offers either named values or a count; a task always asks for a count. In and out: plain lists of
`api.GenericResource`. Source: SwarmKit api/genericresource.
"""

from collections import Counter
from collections.abc import Iterable

from shoal.api import v1 as api

Resources = Iterable[api.GenericResource]
Wanted = Iterable[tuple[str, int]]  # kind and count, each kind once


class Stock:
    """The generic resources that a node has left."""

    def __init__(self, resources: Resources = ()) -> None:
        self._named: dict[str, dict[str, None]] = {}
        self._counts: Counter[str] = Counter()
        for resource in resources:
            if resource.HasField("named_resource_spec"):
                spec = resource.named_resource_spec
                self._named.setdefault(spec.kind, {})[spec.value] = None
            else:
                self._counts[resource.discrete_resource_spec.kind] += resource.discrete_resource_spec.value

    def has(self, kind: str, count: int) -> bool:
        """Return whether `count` of a kind are left."""
        if kind in self._named:
            return len(self._named[kind]) >= count
        return kind in self._counts and self._counts[kind] >= count

    def left(self, kind: str) -> int:
        """Return how many of a kind are left."""
        return len(self._named[kind]) if kind in self._named else self._counts[kind]

    def pick(self, wanted: Wanted) -> list[api.GenericResource]:
        """Return the resources for a task that asks for `wanted`, without taking them. So many must be left."""
        picked: list[api.GenericResource] = []
        for kind, count in wanted:
            if kind in self._named:
                picked += [_named(kind, value) for value in list(self._named[kind])[:count]]
            elif count:
                picked.append(_counted(kind, count))
        return picked

    def holds(self, resource: api.GenericResource) -> bool:
        """Return whether exactly this named value, or this count, is left."""
        if resource.HasField("named_resource_spec"):
            spec = resource.named_resource_spec
            return spec.value in self._named.get(spec.kind, {})
        counted = resource.discrete_resource_spec
        return counted.kind in self._counts and self._counts[counted.kind] >= counted.value

    def take(self, resources: Resources) -> None:
        """Take resources that were picked. Ignores those that the node does not have, or no longer in this form."""
        for resource in resources:
            if resource.HasField("named_resource_spec"):
                spec = resource.named_resource_spec
                self._named.get(spec.kind, {}).pop(spec.value, None)
            elif resource.discrete_resource_spec.kind in self._counts:
                self._counts[resource.discrete_resource_spec.kind] -= resource.discrete_resource_spec.value


def _named(kind: str, value: str) -> api.GenericResource:
    return api.GenericResource(named_resource_spec=api.NamedGenericResource(kind=kind, value=value))


def _counted(kind: str, value: int) -> api.GenericResource:
    return api.GenericResource(discrete_resource_spec=api.DiscreteGenericResource(kind=kind, value=value))
