import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from shoal.engine import container_streams
from shoal.errors import ShoalError
from shoal.runtime.types import LogLine, LogOptions, Phase
from tests.unit.engine.fakes import client
from tests.unit.engine.host_fakes import FakeContainers, container, host, served

AT = 1_700_000_000_000_000_005


def logging_host(**config: Any) -> tuple[Any, FakeContainers]:
    given = host(container(**config))
    rows: Any = given.containers
    rows.lines = [LogLine(AT, "stdout", b"one\n"), LogLine(AT + 1, "stderr", b"two\n")]
    return given, rows


async def test_log_comes_in_frames_by_stream() -> None:
    given, _ = logging_host()
    async with client(given) as api:
        answer = await api.get("/containers/web.1/logs?stdout=1&stderr=1")
        assert answer.headers["Content-Type"] == "application/vnd.docker.multiplexed-stream"
        assert await answer.read() == b"\x01\0\0\0\0\0\0\x04one\n\x02\0\0\0\0\0\0\x04two\n"
        answer = await api.get("/v1.41/containers/web.1/logs?stderr=1")
        assert answer.headers["Content-Type"] == "application/vnd.docker.raw-stream"
        assert await answer.read() == b"\x02\0\0\0\0\0\0\x04two\n"


async def test_log_of_a_terminal_is_bare() -> None:
    given, _ = logging_host(tty=True)
    async with client(given) as api:
        answer = await api.get("/containers/web.1/logs?stdout=1&stderr=1")
        assert answer.headers["Content-Type"] == "application/vnd.docker.raw-stream"
        assert await answer.read() == b"one\ntwo\n"


async def test_log_lines_are_stamped_and_detailed() -> None:
    given, _ = logging_host(tty=True)
    async with client(given) as api:
        answer = await api.get("/containers/web.1/logs?stdout=1&timestamps=1&details=1")
        assert await answer.read() == b"2023-11-14T22:13:20.000000005Z  one\n"


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("stdout=1", LogOptions(stderr=False)),
        ("stdout=1&stderr=1&tail=all", LogOptions()),
        ("stdout=1&stderr=1&tail=0", LogOptions(tail=0)),
        ("stdout=1&stderr=1&tail=7", LogOptions(tail=7)),
        ("stdout=1&stderr=1&tail=-1", LogOptions()),
        ("stdout=1&stderr=1&tail=%C2%B2", LogOptions()),
        ("stdout=1&stderr=1&since=1.5&until=2", LogOptions(since_nanos=1_500_000_000, until_nanos=2_000_000_000)),
        ("stdout=1&stderr=1&since=0&until=0", LogOptions()),
    ],
)
async def test_log_options_are_read(query: str, options: LogOptions) -> None:
    given, rows = logging_host()
    async with client(given) as api:
        assert (await api.get(f"/containers/web.1/logs?{query}")).status == 200
        assert rows.asked == [options]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/containers/web.1/logs", 400, "must specify at least one of 'stdout' or 'stderr'"),
        (
            "/containers/web.1/logs?stdout=1&since=x",
            400,
            'invalid value for "since": invalid timestamp "x": invalid seconds "x": invalid syntax',
        ),
        (
            "/containers/web.1/logs?stdout=1&since=1.%C2%B2",
            400,
            'invalid value for "since": invalid timestamp "1.²": invalid nanoseconds "²": invalid syntax',
        ),
        ("/containers/no/logs?stdout=1", 404, "No such container: no"),
        ("/containers/dead/logs?stdout=1", 409, "can not get logs from container which is dead or marked for removal"),
    ],
)
async def test_log_is_refused_before_it_begins(path: str, status: int, message: str) -> None:
    async with client(host(container(), container("dead", Phase.DEAD))) as api:
        answer = await api.get(path)
        assert (answer.status, await answer.json()) == (status, {"message": message})


async def test_failure_in_a_log_is_its_last_words() -> None:
    given, rows = logging_host()
    rows.lines, rows.log_fails = [], ShoalError("disk is gone")
    async with client(given) as api:
        answer = await api.get("/containers/web.1/logs?stdout=1")
        assert await answer.read() == b"\x03\0\0\0\0\0\0\x22Error grabbing logs: disk is gone\n"


async def test_follower_that_goes_away_ends_its_reader(tmp_path: Path) -> None:
    given, rows = logging_host()
    rows.log_ends.clear()
    async with served(given, tmp_path) as connect, asyncio.timeout(60):
        wire = await connect()
        wire.send("GET", "/containers/web.1/logs?stdout=1&follow=1")
        assert (await wire.head()).startswith("HTTP/1.1 200 ")
        await wire.reader.readuntil(b"one\n")
        assert not rows.log_closed.is_set()
        await wire.close()
        await rows.log_closed.wait()


async def test_follower_ends_with_the_container() -> None:
    given, rows = logging_host()
    rows.log_ends.clear()
    async with client(given) as api, asyncio.timeout(60):
        answer = await api.get("/containers/web.1/logs?stdout=1&follow=1")
        rows.log_ends.set()
        assert (await answer.read()).endswith(b"one\n")
        assert rows.log_closed.is_set()


async def test_single_stats_are_read_twice_for_their_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_streams, "STATS_PERIOD", 0.0)
    async with client(host(container(), container("old", Phase.EXITED))) as api:
        shown = await (await api.get("/containers/web.1/stats?stream=false")).json()
        assert shown["precpu_stats"]["system_cpu_usage"] == 1000
        shown = await (await api.get("/containers/web.1/stats?stream=false&one-shot=1")).json()
        assert "system_cpu_usage" not in shown["precpu_stats"]
        assert shown["preread"].startswith("0001")
        shown = await (await api.get("/v1.40/containers/web.1/stats?stream=false&one-shot=1")).json()
        assert not shown["preread"].startswith("0001")
        shown = await (await api.get("/containers/old/stats?stream=false")).json()
        assert shown["read"].startswith("0001")
        assert (await api.get("/containers/no/stats?stream=false")).status == 404


async def test_stats_stream_goes_on_through_a_stop_and_ends_with_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_streams, "STATS_PERIOD", 0.001)
    given = host(container())
    async with client(given) as api, asyncio.timeout(60):
        answer = await api.get("/containers/web.1/stats")
        first = json.loads(await answer.content.readline())
        assert first["preread"].startswith("0001")
        second = json.loads(await answer.content.readline())
        assert second["precpu_stats"] == first["cpu_stats"]
        await given.containers.change("web.1", phase=Phase.EXITED)  # type: ignore[attr-defined]
        while not json.loads(await answer.content.readline())["read"].startswith("0001"):
            pass
        await given.containers.drop("web.1")  # type: ignore[attr-defined]
        async for _ in answer.content:
            pass


@pytest.mark.parametrize(
    ("query", "status"),
    [("h=24&w=80", 200), ("h=24", 400), ("h=-1&w=80", 400), ("h=24&w=4294967296", 400), ("h=x&w=80", 400)],
)
async def test_resize_needs_two_numbers(query: str, status: int) -> None:
    given = host(container())
    async with client(given) as api:
        assert (await api.post(f"/containers/web.1/resize?{query}")).status == status
        assert given.containers.asked == ([("resize", "web.1", 24, 80)] if status == 200 else [])  # type: ignore[attr-defined]


@pytest.mark.parametrize("keys", ["ctrl-", "xyz"])
async def test_attach_refuses_unknown_keys(keys: str) -> None:
    async with client(host(container())) as api:
        answer = await api.post(f"/containers/web.1/attach?stream=1&detachKeys={keys}")
        assert (answer.status, await answer.json()) == (400, {"message": f"Invalid detach keys ({keys}) provided"})


async def test_wait_answers_at_once_for_what_does_not_run() -> None:
    async with client(host(container("old", Phase.EXITED, exit_code=3), container("made", Phase.CREATED))) as api:
        assert await (await api.post("/containers/old/wait")).json() == {"StatusCode": 3}
        assert await (await api.post("/containers/made/wait?condition=not-running")).json() == {"StatusCode": 0}
        assert (await api.post("/containers/no/wait")).status == 404
        answer = await api.post("/containers/old/wait?condition=dinner")
        assert (answer.status, await answer.json()) == (400, {"message": 'invalid condition: "dinner"'})


@pytest.mark.parametrize("condition", ["", "not-running", "next-exit"])
async def test_wait_sends_its_head_and_then_the_exit_code(condition: str) -> None:
    given = host(container())
    rows: Any = given.containers
    async with client(given) as api, asyncio.timeout(60):
        answer = await api.post(f"/containers/web.1/wait?condition={condition}")
        assert answer.status == 200
        await rows.change("web.1", phase=Phase.EXITED, exit_code=9, error="cannot run")
        assert await answer.json() == {"StatusCode": 9, "Error": {"Message": "cannot run"}}


async def test_wait_for_the_next_exit_sees_the_run_before_it() -> None:
    given = host(container(phase=Phase.EXITED, exit_code=1))
    rows: Any = given.containers
    async with client(given) as api, asyncio.timeout(60):
        answer = await api.post("/containers/web.1/wait?condition=next-exit")
        await rows.change("web.1", phase=Phase.RUNNING, exit_code=0)
        await rows.change("web.1", phase=Phase.EXITED, exit_code=2)
        assert await answer.json() == {"StatusCode": 2}


async def test_wait_for_the_removal() -> None:
    given = host(container())
    rows: Any = given.containers
    async with client(given) as api, asyncio.timeout(60):
        answer = await api.post("/containers/web.1/wait?condition=removed")
        await rows.change("web.1", phase=Phase.EXITED, exit_code=4)
        await rows.drop("web.1")
        assert await answer.json() == {"StatusCode": 4}
