from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from shoal.api import times
from shoal.api import v1 as api
from shoal.engine.streams import frame
from shoal.errors import Aborted
from tests.unit.engine.fakes import backend, client, manager_node


def line(text: bytes, stream: int = api.LOG_STREAM_STDOUT, **attributes: str) -> api.LogMessage:
    return api.LogMessage(
        context=api.LogContext(service_id="s1", node_id="n1", task_id="t1"),
        timestamp=times.timestamp_from_nanos(1_700_000_000_000_000_001),
        stream=stream,  # type: ignore[arg-type]
        data=text,
        attrs=[api.LogAttr(key=key, value=value) for key, value in attributes.items()],
    )


@dataclass
class Broker:
    """A log broker that sends these lines, and then fails if a test wants that."""

    lines: list[api.LogMessage]
    fails: bool = False
    asked: list[api.SubscribeLogsRequest] = field(default_factory=list)

    async def subscribe_logs(self, request: api.SubscribeLogsRequest) -> AsyncIterator[api.SubscribeLogsMessage]:
        self.asked.append(request)
        for each in self.lines:
            yield api.SubscribeLogsMessage(messages=[each])
        if self.fails:
            raise Aborted("node went away")


def served(broker: Broker, tty: bool = False) -> Any:
    spec = api.TaskSpec(container=api.ContainerSpec(image="busybox", tty=tty))
    service = api.Service(id="s1", spec=api.ServiceSpec(annotations=api.Annotations(name="web"), task=spec))
    task = api.Task(id="t1", service_id="s1", spec=spec)
    return client(backend(node=manager_node(service, task, log_broker=broker)[0]))


async def test_lines_come_in_frames_by_stream() -> None:
    broker = Broker([line(b"out\n"), line(b"err\n", api.LOG_STREAM_STDERR)])
    async with served(broker) as http:
        answer = await http.get("/services/web/logs?stdout=1&stderr=1&follow=1&tail=5&since=1700000000.5")
        assert answer.headers["Content-Type"] == "application/vnd.docker.multiplexed-stream"
        assert await answer.read() == frame(1, b"out\n") + frame(2, b"err\n")
        [request] = broker.asked
        assert list(request.selector.service_ids) == ["s1"]
        assert request.options == api.LogSubscriptionOptions(
            streams=[api.LOG_STREAM_STDOUT, api.LOG_STREAM_STDERR],
            follow=True,
            tail=-6,
            since=times.timestamp(1_700_000_000.5),
        )
        answer = await http.get("/v1.41/tasks/t1/logs?stderr=1")
        assert answer.headers["Content-Type"] == "application/vnd.docker.raw-stream"
        assert list(broker.asked[-1].selector.task_ids) == ["t1"]
        assert broker.asked[-1].options.tail == 0


async def test_time_and_details_stand_before_the_text() -> None:
    attributes: dict[str, Any] = {"b": "x y", "com.docker.swarm.node.id": "forged"}
    async with served(Broker([line(b"out\n", **attributes)])) as http:
        answer = await http.get("/services/web/logs?stdout=1&timestamps=1&details=1")
        text = (
            b"2023-11-14T22:13:20.000000001Z b=x+y,com.docker.swarm.node.id=n1,com.docker.swarm.service.id=s1,"
            b"com.docker.swarm.task.id=t1 out\n"
        )
        assert await answer.read() == frame(1, text)


async def test_a_late_failure_is_the_last_frame() -> None:
    async with served(Broker([line(b"out\n")], fails=True)) as http:
        answer = await http.get("/services/web/logs?stdout=1")
        assert answer.status == 200
        last = b"Error grabbing logs: rpc error: code = Aborted desc = node went away\n"
        assert await answer.read() == frame(1, b"out\n") + frame(3, last)


async def test_a_terminal_has_no_frames() -> None:
    async with served(Broker([line(b"out\r\n")], fails=True), tty=True) as http:
        answer = await http.get("/services/web/logs?stdout=1")
        assert answer.headers["Content-Type"] == "application/vnd.docker.raw-stream"
        assert (await answer.read()).startswith(b"out\r\nError grabbing logs: ")


async def test_wrong_questions_are_refused() -> None:
    async with served(Broker([])) as http:
        for query, status, message in (
            ("", 400, "must specify at least one of 'stdout' or 'stderr'"),
            ("stdout=1&tail=x", 500, 'tail value must be a positive integer or "all"'),
            ("stdout=1&tail=-1", 500, "negative tail values not supported"),
            (
                "stdout=1&since=x",
                400,
                'invalid value for "since": invalid timestamp "x": invalid seconds "x": invalid syntax',
            ),
        ):
            answer = await http.get(f"/services/web/logs?{query}")
            assert (answer.status, await answer.json()) == (status, {"message": message})
