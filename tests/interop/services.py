"""Functions that several modules of these tests share: make a service, look at its containers and tasks."""

import json
from typing import Any

from tests.harness.hosts import Host, eventually
from tests.interop.conftest import IMAGE

HTTPD = ("httpd", "-f", "-p", "80", "-h", "/www")
RUN_FOREVER = ("sleep", "1000000")


def create(host: Host, name: str, *flags: str, command: tuple[str, ...] = RUN_FOREVER, image: str = IMAGE) -> str:
    """Create a service, wait until it has converged, and return what the command printed.

    It is stopped by SIGKILL unless `flags` say otherwise: busybox's sleep, as process 1, ignores SIGTERM.
    """
    # The command watches a service for as long as an update of it would be watched, and for 5 s unless told otherwise.
    quick = ("--restart-delay", "0s", "--stop-signal", "KILL", "--update-monitor", "50ms", "--rollback-monitor", "50ms")
    return host.docker("service", "create", "--name", name, *quick, *flags, image, *command).stdout


def create_detached(
    host: Host, name: str, *flags: str, command: tuple[str, ...] = RUN_FOREVER, image: str = IMAGE
) -> None:
    """Create a service that need not converge."""
    host.docker(
        "service",
        "create",
        "--detach",
        "--no-resolve-image",
        "--stop-signal",
        "KILL",
        "--name",
        name,
        *flags,
        image,
        *command,
    )


def running(host: Host, service: str) -> list[str]:
    """Return the running containers of a service."""
    return host.docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={service}").stdout.split()


def only(host: Host, service: str) -> str:
    """Return the only container of a service."""
    (container,) = running(host, service)
    return container


def inspect(host: Host, container: str) -> dict[str, Any]:
    """Return a container as `docker inspect` shows it."""
    found: list[dict[str, Any]] = json.loads(host.docker("inspect", container).stdout)
    return found[0]


def tasks(host: Host, service: str) -> list[dict[str, Any]]:
    """Return the tasks of a service, oldest first."""
    filters = json.dumps({"service": [service]})
    found: list[dict[str, Any]] = json.loads(host.curl("/tasks", "-G", "--data-urlencode", f"filters={filters}"))
    return sorted(found, key=lambda task: str(task["CreatedAt"]))


def wait_for_manager(host: Host) -> None:
    """Wait until the manager of a restarted daemon works. Its containers and its API do so earlier."""
    eventually(lambda: host.docker("node", "ls", check=False).returncode == 0, "the manager answers", show=host.log)
