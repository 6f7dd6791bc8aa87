"""The keys of `deploy`, and the kind of each."""

from shoal.compose.kinds import Kind, ListOf, Pairs, Parsed, Record, Text, Where
from shoal.compose.node import Node
from shoal.compose.values import DURATION, FLOAT, INTEGER, SIZE, TEXT

_TEXTS = ListOf(TEXT)
_UPDATE = Record(
    {
        "parallelism": INTEGER,
        "delay": DURATION,
        "failure_action": TEXT,
        "monitor": DURATION,
        "max_failure_ratio": FLOAT,
        "order": Text(("start-first", "stop-first")),
    }
)


def _count(text: str) -> int | None:
    return -1 if text == "all" else INTEGER.parse(text)


def _device_finished(made: Node, where: Where) -> Node:
    if "count" in made.entries and "device_ids" in made.entries:
        raise where.wrong(made, "count and device_ids exclude each other")
    if "count" in made.entries or "device_ids" in made.entries:
        return made
    return made.made({**made.entries, "count": Node(-1, made.place)})


_DEVICE: dict[str, Kind] = {
    "capabilities": _TEXTS,
    "count": Parsed("a whole number, or all", _count),
    "device_ids": _TEXTS,
    "driver": TEXT,
    "options": Pairs(),
}
DEVICES = ListOf(Record(_DEVICE, required=("capabilities",), finish=_device_finished))


def _all(each: Node, where: Where) -> Node | None:
    return each.made({}) if each.value == "all" else None


GPUS = ListOf(Record(_DEVICE, short=_all, finish=_device_finished), single=True)
GENERIC = ListOf(Record({"discrete_resource_spec": Record({"kind": TEXT, "value": INTEGER})}))
DEPLOY = Record(
    {
        "mode": TEXT,
        "endpoint_mode": TEXT,
        "replicas": INTEGER,
        "labels": Pairs(),
        "rollback_config": _UPDATE,
        "update_config": _UPDATE,
        "resources": Record(
            {
                "limits": Record({"cpus": FLOAT, "memory": SIZE, "pids": INTEGER}),
                "reservations": Record(
                    {"cpus": FLOAT, "memory": SIZE, "generic_resources": GENERIC, "devices": DEVICES},
                ),
            }
        ),
        "restart_policy": Record({"condition": TEXT, "delay": DURATION, "max_attempts": INTEGER, "window": DURATION}),
        "placement": Record(
            {
                "constraints": _TEXTS,
                "preferences": ListOf(Record({"spread": TEXT})),
                "max_replicas_per_node": INTEGER,
            }
        ),
    },
    nullable=True,
)
