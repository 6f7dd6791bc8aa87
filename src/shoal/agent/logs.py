"""Which logs a subscription asks for, and how a line of a container becomes a message. Pure.

In: subscriptions, tasks, lines and the time; out: selections, options for the runtime, messages, and the pauses that
keep a node's logs from flooding its manager. Source of the rules: SwarmKit agent/worker.go, moby
daemon/cluster/executor/container/{adapter,controller}.go, daemon/logger/loginfo.go.
"""

from collections.abc import Iterable

from shoal.api import v1 as api
from shoal.api.times import timestamp_from_nanos
from shoal.errors import InvalidArgument
from shoal.patterns import BadPattern, compiled
from shoal.runtime.types import ContainerConfig, LogLine, LogOptions

BYTES_PER_SECOND = 10 << 20
BATCH_BYTES = 1 << 20  # a message stays well below the 4 MiB that a manager takes
BATCH_LINES = 1000

_STREAMS = {"stdout": api.LOG_STREAM_STDOUT, "stderr": api.LOG_STREAM_STDERR}


def selects(selector: api.LogSelector, task: api.Task) -> bool:
    """Return whether a subscription names a task, its service or its node."""
    return task.id in selector.task_ids or task.service_id in selector.service_ids or task.node_id in selector.node_ids


def log_options(options: api.LogSubscriptionOptions) -> LogOptions:
    """Return the options for the runtime. A tail of 0 means all lines, -(n+1) the last n lines.

    Raises InvalidArgument for a positive tail.
    """
    if options.tail > 0:
        raise InvalidArgument("tail relative to start of logs not supported via docker API")
    streams = set(options.streams)
    return LogOptions(
        stdout=not streams or api.LOG_STREAM_STDOUT in streams,
        stderr=not streams or api.LOG_STREAM_STDERR in streams,
        follow=options.follow,
        since_nanos=options.since.seconds * 1_000_000_000 + options.since.nanos,
        tail=None if options.tail == 0 else -options.tail - 1,
    )


def message(line: LogLine, context: api.LogContext, attrs: Iterable[api.LogAttr]) -> api.LogMessage:
    """Return the message that publishes a line."""
    return api.LogMessage(
        context=context,
        timestamp=timestamp_from_nanos(line.at_nanos),
        stream=_STREAMS[line.stream],
        data=line.data,
        attrs=attrs,
    )


def context(task: api.Task) -> api.LogContext:
    """Return the ids of the service, node and task that a line belongs to."""
    return api.LogContext(service_id=task.service_id, node_id=task.node_id, task_id=task.id)


def attributes(task: api.Task, config: ContainerConfig) -> list[api.LogAttr]:
    """Return the labels and environment variables that the options of a task's log driver select.

    The options `labels` and `env` hold names, `labels-regex` and `env-regex` patterns. Raises InvalidArgument for a
    pattern that cannot be read.
    """
    driver = task.log_driver if task.HasField("log_driver") else task.spec.log_driver
    options = driver.options
    env = dict(entry.partition("=")[::2] for entry in config.env)
    found: dict[str, str] = {}
    for values, names, pattern in (
        (dict(config.labels), options.get("labels", ""), options.get("labels-regex", "")),
        (env, options.get("env", ""), options.get("env-regex", "")),
    ):
        wanted = [name for name in names.split(",") if name in values]
        if pattern:
            try:
                wanted += filter(compiled(pattern), values)
            except BadPattern as error:
                raise InvalidArgument(f"the log option {pattern} is not a pattern: {error}") from error
        found.update((name, values[name]) for name in wanted)
    return [api.LogAttr(key=key, value=found[key]) for key in sorted(found)]


class Throttle:
    """Limits bytes a second. A burst of one second's bytes passes at once."""

    def __init__(self, now: float, rate: float = BYTES_PER_SECOND) -> None:
        self._rate = rate
        self._left = rate
        self._at = now

    def delay(self, size_bytes: int, now: float) -> float:
        """Count `size_bytes` and return how many seconds to wait before sending them."""
        self._left = min(self._rate, self._left + (now - self._at) * self._rate) - size_bytes
        self._at = now
        return max(0.0, -self._left / self._rate)
