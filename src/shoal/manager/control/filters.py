"""The filters of the list calls.

An object passes if it matches one of the values of each filter that is given, and all of the labels. Source: SwarmKit
manager/controlapi/common.go.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol, TypeVar

from shoal.api import v1 as api

T = TypeVar("T")


class NameFilters(Protocol):
    """The filters that all kinds of objects have."""

    @property
    def names(self) -> Collection[str]:
        """Return the exact names to match."""

    @property
    def name_prefixes(self) -> Iterable[str]:
        """Return the beginnings of names to match."""

    @property
    def id_prefixes(self) -> Iterable[str]:
        """Return the beginnings of ids to match."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Return the labels to match; the value "" matches any value."""


def among(value: T, wanted: Collection[T]) -> bool:
    """Return whether a value is one of the wanted ones, or none are given."""
    return not wanted or value in wanted


def begins(value: str, prefixes: Iterable[str]) -> bool:
    """Return whether a value begins with one of the prefixes, or none are given."""
    wanted = tuple(prefixes)
    return not wanted or value.startswith(wanted)


def labelled(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether every wanted label is among `labels`, and has the wanted value if one is given."""
    return all(key in labels and value in ("", labels[key]) for key, value in wanted.items())


def named(object_id: str, annotations: api.Annotations, filters: NameFilters) -> bool:
    """Return whether an object with this id and these annotations passes the filters."""
    return (
        among(annotations.name, filters.names)
        and begins(annotations.name, filters.name_prefixes)
        and begins(object_id, filters.id_prefixes)
        and labelled(annotations.labels, filters.labels)
    )


def runtime(spec: api.TaskSpec) -> str:
    """Return the runtime of a task: `container`, `attachment`, or the kind of a generic runtime in lower case."""
    which = spec.WhichOneof("runtime") or ""
    return spec.generic.kind.lower() if which == "generic" else which
