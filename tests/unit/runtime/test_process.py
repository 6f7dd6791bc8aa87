"""What a container runs: the image's settings merged with the service's."""

from typing import Any

import pytest

from shoal.errors import InvalidArgument
from shoal.runtime.process import DEFAULT_PATH, environment, health, merge_env, parse_signal, process
from shoal.runtime.types import ContainerConfig, HealthConfig, Mount

IMAGE: dict[str, Any] = {
    "config": {
        "Entrypoint": ["/entry"],
        "Cmd": ["serve"],
        "Env": ["A=1", "B=2"],
        "WorkingDir": "/srv/",
        "User": "web",
        "StopSignal": "SIGQUIT",
        "Volumes": {"/data": {}, "/logs": {}},
        "Healthcheck": {"Test": ["CMD", "check"], "Interval": 5_000_000_000, "Retries": 7},
    }
}


def config(**changes: Any) -> ContainerConfig:
    return ContainerConfig(name="web", image="web", **changes)


def test_an_image_runs_as_it_says() -> None:
    found = process(IMAGE, config())
    assert found.args == ("/entry", "serve")
    assert (found.env, found.cwd, found.user, found.stop_signal) == (("A=1", "B=2"), "/srv", "web", 3)
    assert found.health == HealthConfig(("CMD", "check"), interval=5.0, retries=7)
    assert found.volumes == ("/data", "/logs")


@pytest.mark.parametrize(
    ("changes", "args"),
    [
        ({"command": ("other",)}, ("/entry", "other")),
        ({"entrypoint": ("sh",)}, ("sh",)),
        ({"entrypoint": ("sh", "-c"), "command": ("x",)}, ("sh", "-c", "x")),
        ({"entrypoint": ("",), "command": ("x",)}, ("x",)),
    ],
)
def test_entrypoint_and_command(changes: dict[str, Any], args: tuple[str, ...]) -> None:
    assert process(IMAGE, config(**changes)).args == args


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        process({}, config())


def test_a_relative_working_folder_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="the working directory 'x' is invalid, it needs to be an absolute path"):
        process(IMAGE, config(working_dir="x"))


def test_environments_merge_by_key() -> None:
    assert merge_env(("A=1", "B=2"), ("B=3", "C=4", "A")) == ("B=3", "C=4")
    assert environment((), "box", "/root", tty=True) == (DEFAULT_PATH, "HOSTNAME=box", "TERM=xterm", "HOME=/root")
    assert environment(("PATH=/x", "HOME=/h"), "box", "/root", tty=False) == ("PATH=/x", "HOSTNAME=box", "HOME=/h")


def test_a_mount_takes_the_place_of_a_declared_volume() -> None:
    assert process(IMAGE, config(mounts=(Mount("tmpfs", "/data/"),))).volumes == ("/logs",)


def test_health_follows_the_image_where_it_is_silent() -> None:
    assert process(IMAGE, config(health=HealthConfig(retries=2))).health == HealthConfig(
        ("CMD", "check"), interval=5.0, retries=2
    )
    assert process(IMAGE, config(health=HealthConfig(("NONE",)))).health is None


@pytest.mark.parametrize(
    ("name", "number"), [("SIGTERM", 15), ("hup", 1), ("9", 9), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)]
)
def test_signals(name: str, number: int) -> None:
    assert parse_signal(name) == number


@pytest.mark.parametrize(
    "name", ["", "nope", "0", "65", "RTMIN+99", "\u00b2", "RTMIN+\u00b2", "9" * 5000, "RTMAX-" + "9" * 5000]
)
def test_what_is_no_signal_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid signal: "):
        parse_signal(name)


@pytest.mark.parametrize(
    "config",
    [
        {"Cmd": ["a\0b"]},
        {"Cmd": ["a"], "Env": ["A=\0"]},
        {"Cmd": ["a"], "WorkingDir": "/a\0"},
        {"Cmd": ["a"], "User": "\0"},
        {"Cmd": ["a"], "Volumes": {"/\0": {}}},
    ],
)
def test_what_has_a_nul_byte_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match="is invalid: it contains a NUL byte"):
        process({"config": config}, ContainerConfig(name="c", image="i"))


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ({"Interval": 1}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Timeout": -1}, "Timeout in Healthcheck cannot be less than 1ms"),
        ({"StartInterval": -(1 << 62)}, "StartInterval in Healthcheck cannot be less than 1ms"),
        ({"Retries": -1}, "Retries in Healthcheck cannot be negative"),
    ],
)
def test_a_probe_that_would_be_all_that_the_host_does_is_refused(probe: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        health({"config": {"Healthcheck": {"Test": ["CMD", "true"], **probe}}}, None)


@pytest.mark.parametrize("test", [["CMD"], ["CMD-SHELL"], ["true"], ["NONE", "x"]])
def test_a_probe_without_a_command_is_none(test: list[str]) -> None:
    assert health({"config": {"Healthcheck": {"Test": test}}}, None) is None
