"""Fixtures: a host with a swarm of one and a small image, shared by a module's tests. Each test leaves it without
services.
"""

import subprocess
from collections.abc import Iterator

import pytest

from tests.harness import images
from tests.harness.docker_engine import DockerEngine
from tests.harness.hosts import Host, docker_program, eventually, host
from tests.interop.stage import Stage

IMAGE = "bb:latest"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "interop" in str(item.path):
            item.add_marker(pytest.mark.root)


def import_image(on: Host | DockerEngine, name: str = IMAGE, *changes: str) -> None:
    """Give a host the busybox image, through `docker import`."""
    flags = [word for change in changes for word in ("--change", change)]
    done = subprocess.run(
        [docker_program(), "-H", f"unix://{on.socket}", "import", *flags, "-", name],
        input=images.busybox_rootfs(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def bare() -> Iterator[Host]:
    """Return a daemon that is in no swarm."""
    with host("bare") as made:
        yield made


@pytest.fixture(scope="module")
def swarm_host() -> Iterator[Host]:
    """Yield a swarm of one, with the image."""
    with host("one") as made:
        made.docker("swarm", "init")
        import_image(made)
        yield made
        made.docker("swarm", "leave", "--force")
        assert made.stop() == 0
        assert not made.leftovers()


@pytest.fixture
def swarm(swarm_host: Host) -> Iterator[Host]:
    """Yield the shared swarm, without services before and after."""
    yield swarm_host
    services = swarm_host.docker("service", "ls", "-q").stdout.split()
    if services:
        swarm_host.docker("service", "rm", *services)
    eventually(lambda: not swarm_host.docker("ps", "-aq").stdout.split(), "no containers", show=swarm_host.log)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Return the stage on which a demo plays."""
    made = Stage()
    try:
        yield made
    finally:
        made.close()
