import asyncio
import errno
import logging
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import ClientPayloadError, web

from shoal.engine import last_calls
from shoal.engine.requests import Call
from shoal.engine.streams import start_json_stream, write_json
from shoal.errors import Conflict
from tests.unit.engine.fakes import client


def module(*routes: Any) -> tuple[ModuleType, ...]:
    return (cast(ModuleType, SimpleNamespace(ROUTES=list(routes))),)


async def test_ping_tells_the_version_and_the_swarm_state() -> None:
    async with client() as api:
        for method in ("GET", "HEAD"):
            answer = await api.request(method, "/_ping")
            assert answer.status == 200
            assert answer.headers["Api-Version"] == "1.50"
            assert answer.headers["Ostype"] == "linux"
            assert answer.headers["Docker-Experimental"] == "false"
            assert answer.headers["Swarm"] == "inactive"
            assert answer.headers["Server"] == "Shoal/0.1.0 (linux)"
            assert "Builder-Version" in answer.headers
        assert await (await api.get("/v1.24/_ping")).text() == "OK"


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            "1.23",
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a "
            "newer version",
        ),
        ("1.99", "client version 1.99 is too new. Maximum supported API version is 1.50"),
        ("2.0", "client version 2.0 is too new. Maximum supported API version is 1.50"),
    ],
)
async def test_versions_out_of_range_are_refused(version: str, message: str) -> None:
    async with client() as api:
        answer = await api.get(f"/v{version}/_ping")
        assert (answer.status, await answer.json()) == (400, {"message": message})
        assert answer.headers["Api-Version"] == "1.50"


async def test_unknown_paths_and_methods_answer_in_json_as_docker_does() -> None:
    async with client() as api:
        for method, path in (("GET", "/nowhere"), ("GET", "/v1.40/nowhere/x"), ("DELETE", "/_ping"), ("GET", "/")):
            answer = await api.request(method, path)
            assert (answer.status, await answer.json()) == (404, {"message": "page not found"})


async def test_errors_carry_their_status_and_faults_of_ours_stay_neutral(caplog: pytest.LogCaptureFixture) -> None:
    async def conflict(_: Call) -> web.Response:
        raise Conflict("name taken")

    async def fault(_: Call) -> web.Response:
        raise KeyError("secret detail")

    async with client(modules=module(("GET", "/conflict", conflict), ("GET", "/fault", fault))) as api:
        answer = await api.get("/conflict")
        assert (answer.status, await answer.json()) == (409, {"message": "name taken"})
        with caplog.at_level(logging.ERROR):
            answer = await api.get("/fault")
        assert answer.status == 500
        assert "secret detail" not in await answer.text()
        assert caplog.records[-1].exc_info is not None


async def test_waiting_for_what_others_cancelled_is_a_fault_and_not_an_empty_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def waits(_: Call) -> web.Response:
        other: asyncio.Future[web.Response] = asyncio.get_running_loop().create_future()
        other.cancel()
        return await other

    async with client(modules=module(("GET", "/waits", waits))) as api:
        with caplog.at_level(logging.WARNING):
            answer = await api.get("/waits")
        assert answer.status == 500
        assert caplog.records[-1].exc_info is not None


async def test_what_the_host_refuses_is_told_in_its_words() -> None:
    async def full(_: Call) -> web.Response:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x")

    async def taken(_: Call) -> web.Response:
        raise OSError(errno.EADDRINUSE, "cannot listen on 0.0.0.0 port 2377: Address already in use")

    async with client(modules=module(("GET", "/full", full), ("GET", "/taken", taken))) as api:
        assert await (await api.get("/full")).json() == {"message": "/data/x: no space left on device"}
        answer = await api.get("/taken")
        message = "cannot listen on 0.0.0.0 port 2377: Address already in use"
        assert (answer.status, await answer.json()) == (500, {"message": message})


async def test_a_failure_in_the_middle_of_an_answer_cuts_it(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks(call: Call) -> web.StreamResponse:
        response = await start_json_stream(call)
        await write_json(response, 1)
        raise KeyError("x")

    async with client(modules=module(("GET", "/breaks", breaks))) as api:
        answer = await api.get("/breaks")
        with pytest.raises(ClientPayloadError):
            await answer.read()
        assert (await api.get("/breaks")).status == 200  # on a new connection
        assert "GET /breaks broke off" in {record.message for record in caplog.records}


async def test_a_handler_ends_when_its_client_goes_away() -> None:
    ended = asyncio.Event()

    async def waits(call: Call) -> web.StreamResponse:
        response = await start_json_stream(call)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return response

    async with client(modules=module(("GET", "/waits", waits))) as api:
        answer = await api.get("/waits")
        answer.close()
        async with asyncio.timeout(60):
            await ended.wait()


async def test_followers_do_not_hold_up_the_end_of_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_calls, "SHUTDOWN_TIMEOUT", 3600.0)
    http = client()
    await http.start_server()
    answer = await http.get("/events")
    async with asyncio.timeout(60):
        await http.server.close()
    answer.close()
    await http.close()


async def test_parameters_may_hold_slashes_where_the_route_says_so() -> None:
    async def show(call: Call) -> web.Response:
        return web.json_response({"path": dict(call.path), "api": call.api})

    routes = module(("GET", "/images/{name:.*}/json", show), ("GET", "/services/{id}", show))
    async with client(modules=routes) as api:
        answer = await (await api.get("/v1.41/images/host:5000/a/b:tag/json")).json()
        assert answer == {"path": {"name": "host:5000/a/b:tag"}, "api": 41}
        assert (await (await api.get("/services/a%20b")).json())["path"] == {"id": "a b"}
        assert (await api.get("/services/a/b")).status == 404
