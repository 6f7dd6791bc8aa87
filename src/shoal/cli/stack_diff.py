"""What a deploy would change, field by field: the specs that are there beside those that it would send. Pure.

Fields that a spec leaves out and the swarm fills in are equal to what it fills in.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_EMPTY: tuple[Any, ...] = (None, "", 0, False, [], {})
# What the swarm fills in where a spec says nothing.
_FILLED = {
    "TaskTemplate.ContainerSpec.Isolation": "default",
    "TaskTemplate.RestartPolicy.Condition": "any",
    "TaskTemplate.RestartPolicy.Delay": 5_000_000_000,
    "TaskTemplate.ContainerSpec.StopGracePeriod": 10_000_000_000,
    "TaskTemplate.Runtime": "container",
    "Mode.Replicated.Replicas": 1,
    "EndpointSpec.Mode": "vip",
    "UpdateConfig.FailureAction": "pause",
    "UpdateConfig.Order": "stop-first",
    "RollbackConfig.FailureAction": "pause",
    "RollbackConfig.Order": "stop-first",
}


@dataclass(frozen=True, slots=True)
class Change:
    """A field with what it is and what it would be; None where there is nothing."""

    subject: str
    field: str
    now: Any
    then: Any


def changes(subject: str, now: Mapping[str, Any] | None, then: Mapping[str, Any] | None) -> list[Change]:
    """Return how a spec would change; one change of no field if it is new, or would go."""
    if now is None or then is None:
        return [Change(subject, "", None if now is None else "there", None if then is None else "there")]
    return list(_fields(subject, "", now, then))


def _fields(subject: str, path: str, now: Any, then: Any) -> Iterator[Change]:
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        for key in sorted({*now, *then}):
            below = f"{path}.{key}" if path else key
            yield from _fields(subject, below, now.get(key), then.get(key))
        return
    if path in _FILLED:
        now, then = (_FILLED[path] if each is None else each for each in (now, then))
    elif _is_empty(then) and _is_empty(now):
        return
    if isinstance(now, Mapping) and _is_empty(then):
        yield from _fields(subject, path, now, {})
    elif isinstance(then, Mapping) and _is_empty(now):
        yield from _fields(subject, path, {}, then)
    elif _comparable(now) != _comparable(then):
        yield Change(subject, path, now, then)


def _is_empty(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_empty(each) for each in value.values())
    return any(value == each and type(value) is type(each) for each in _EMPTY)


def _comparable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _comparable(each) for key, each in value.items() if not _is_empty(each)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_comparable(each) for each in value]
    return value
