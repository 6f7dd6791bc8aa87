"""Finds what a dockerd of the harness has given a container: its network namespace and its addresses."""

from pathlib import Path

from tests.harness.docker_engine import DockerEngine

_FORM = "{{.NetworkSettings.SandboxKey}}{{range $k, $v := .NetworkSettings.Networks}} {{$k}} {{$v.IPAddress}}{{end}}"


def netns(engine: DockerEngine, container: str) -> str:
    """Return a path to a container's network namespace. dockerd has it in its own mount namespace."""
    key, *_ = engine.docker("inspect", "-f", _FORM, container).stdout.split()
    return f"/proc/{process_id(engine)}/root{key}"


def process_id(engine: DockerEngine) -> int:
    """Return dockerd's own process id, not that of the program that made its namespaces."""
    assert engine.process
    number = engine.process.pid
    (child,) = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    return int(child)


def addresses(engine: DockerEngine, container: str) -> dict[str, str]:
    """Return a container's address on each of its networks."""
    _, *words = engine.docker("inspect", "-f", _FORM, container).stdout.split()
    return dict(zip(words[::2], words[1::2], strict=True))
