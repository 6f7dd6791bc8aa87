"""The filters of the list calls: values of one kind are alternatives, kinds narrow each other down, labels all match.

Source: SwarmKit manager/controlapi/common.go.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol, TypeVar

from shoal.api import v1 as api

T = TypeVar("T")


class NameFilters(Protocol):
    """What the filters of every kind of object have in common."""

    @property
    def names(self) -> Collection[str]:
        """Return the names to find exactly."""

    @property
    def name_prefixes(self) -> Iterable[str]:
        """Return the beginnings of names."""

    @property
    def id_prefixes(self) -> Iterable[str]:
        """Return the beginnings of ids."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Return the labels, with "" for any value."""


def among(value: T, wanted: Collection[T]) -> bool:
    """Return whether a value is wanted; nothing wanted is everything."""
    return not wanted or value in wanted


def begins(value: str, prefixes: Iterable[str]) -> bool:
    """Return whether a value begins with one of the prefixes; none is any."""
    wanted = tuple(prefixes)
    return not wanted or value.startswith(wanted)


def labelled(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether every wanted label is there, with its value where one is given."""
    return all(key in labels and value in ("", labels[key]) for key, value in wanted.items())


def named(object_id: str, annotations: api.Annotations, filters: NameFilters) -> bool:
    """Return whether an object with this id and these annotations is wanted."""
    return (
        among(annotations.name, filters.names)
        and begins(annotations.name, filters.name_prefixes)
        and begins(object_id, filters.id_prefixes)
        and labelled(annotations.labels, filters.labels)
    )


def runtime(spec: api.TaskSpec) -> str:
    """Return what runs a task: `container`, `attachment`, or the kind of a generic one."""
    which = spec.WhichOneof("runtime") or ""
    return spec.generic.kind.lower() if which == "generic" else which
