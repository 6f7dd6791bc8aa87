from typing import Any

import pytest

from shoal.errors import InvalidArgument
from shoal.runtime.types import ExecConfig, Phase
from tests.unit.engine.fakes import client
from tests.unit.engine.host_fakes import FakeProcess, container, host

COMMAND = {"Cmd": ["sh", "-c", "true"]}


async def test_exec_is_created_and_shown() -> None:
    given = host(container())
    body = {
        **COMMAND,
        "AttachStdin": True,
        "attachstdout": True,  # Go reads names in any case
        "Tty": True,
        "User": "www",
        "Env": ["A=1"],
        "WorkingDir": "/srv",
        "DetachKeys": "ctrl-x",
        "ConsoleSize": [24, 80],
    }
    async with client(given) as api:
        answer = await api.post("/containers/web.1/exec", json=body)
        assert answer.status == 201
        exec_id = (await answer.json())["Id"]
        assert given.execs.get(exec_id).config == ExecConfig(
            ("sh", "-c", "true"),
            env=("A=1",),
            working_dir="/srv",
            user="www",
            tty=True,
            attach_stdin=True,
            attach_stdout=True,
            attach_stderr=False,
            detach_keys="ctrl-x",
        )
        assert await (await api.get(f"/exec/{exec_id}/json")).json() == {
            "ID": exec_id,
            "Running": False,
            "ExitCode": None,
            "ProcessConfig": {
                "tty": True,
                "entrypoint": "sh",
                "arguments": ["-c", "true"],
                "privileged": False,
                "user": "www",
            },
            "OpenStdin": True,
            "OpenStderr": False,
            "OpenStdout": True,
            "CanRemove": False,
            "ContainerID": given.containers.get("web.1").id,
            "DetachKeys": "GA==",
            "Pid": 0,
        }


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/containers/web.1/exec", {}, 400, "No exec command specified"),
        ("/containers/web.1/exec", {"Cmd": []}, 400, "No exec command specified"),
        (
            "/containers/web.1/exec",
            {"Cmd": "ls"},
            400,
            "invalid JSON: json: cannot unmarshal string into Go struct field ExecCreateRequest.Cmd of type []string",
        ),
        (
            "/containers/web.1/exec",
            {**COMMAND, "Tty": 1},
            400,
            "invalid JSON: json: cannot unmarshal number into Go struct field ExecCreateRequest.Tty of type bool",
        ),
        ("/containers/web.1/exec", {**COMMAND, "DetachKeys": "xx"}, 400, "Invalid escape keys (xx) provided"),
        ("/containers/no/exec", COMMAND, 404, "No such container: no"),
        ("/exec/no/start", {}, 404, "No such exec instance: no"),
    ],
)
async def test_exec_is_refused_in_dockers_words(path: str, body: Any, status: int, message: str) -> None:
    async with client(host(container())) as api:
        answer = await api.post(path, json=body)
        assert (answer.status, await answer.json()) == (status, {"message": message})


async def test_exec_needs_a_container_that_runs() -> None:
    given = host(container())
    exec_id = given.execs.create("web.1", ExecConfig(("ls",)))
    await given.containers.change("web.1", phase=Phase.EXITED)  # type: ignore[attr-defined]
    message = {"message": f"container {given.containers.get('web.1').id} is not running"}
    async with client(given) as api:
        for path, body in (("/containers/web.1/exec", COMMAND), (f"/exec/{exec_id}/start", {})):
            answer = await api.post(path, json=body)
            assert (answer.status, await answer.json()) == (409, message)


async def test_detached_exec_is_started_and_let_go() -> None:
    given = host(container())
    execs: Any = given.execs
    exec_id = execs.create("web.1", ExecConfig(("ls",), tty=True))
    async with client(given) as api:
        answer = await api.post(
            f"/exec/{exec_id}/start", json={"Detach": True, "Tty": True, "ConsoleSize": [24, 80, 9]}
        )
        assert (answer.status, await answer.read()) == (200, b"")
        assert execs.started == [(exec_id, True, (24, 80))]
        assert execs.process.closed.is_set()
        execs.fails = InvalidArgument("no such user")
        answer = await api.post(f"/exec/{exec_id}/start", json={"Detach": True})
        assert answer.status == 400


@pytest.mark.parametrize(
    ("api_version", "body", "size"),
    [
        ("", {"Tty": True, "ConsoleSize": [24, 80]}, (24, 80)),
        ("", {"Tty": True, "ConsoleSize": [99999]}, (65535, 0)),
        ("", {"Tty": False, "ConsoleSize": [24, 80]}, None),
        ("/v1.41", {"Tty": True, "ConsoleSize": [24, 80]}, None),
        ("", {"Tty": True}, None),
    ],
)
async def test_console_size_is_a_terminals(api_version: str, body: Any, size: Any) -> None:
    given = host(container())
    execs: Any = given.execs
    execs.process = FakeProcess()
    execs.process.end()
    exec_id = execs.create("web.1", ExecConfig(("ls",)))
    async with client(given) as api:
        await (await api.post(f"{api_version}/exec/{exec_id}/start", json=body)).read()
        assert execs.started == [(exec_id, False, size)]


async def test_resize_needs_two_numbers() -> None:
    given = host(container())
    execs: Any = given.execs
    exec_id = execs.create("web.1", ExecConfig(("ls",)))
    async with client(given) as api:
        assert (await api.post(f"/exec/{exec_id}/resize?h=24&w=80")).status == 200
        assert execs.started == [("resize", 24, 80)]
        answer = await api.post(f"/exec/{exec_id}/resize?h=a&w=80")
        assert (answer.status, await answer.json()) == (400, {"message": 'invalid resize height "a": invalid syntax'})
        assert (await api.post("/exec/no/resize?h=24&w=80")).status == 404
