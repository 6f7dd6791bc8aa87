"""A registry sends one byte a second, or without end. Only tasks with its images wait."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.paths import Paths
from shoal.runtime import pace
from shoal.runtime.images import Images
from tests.cluster import faults
from tests.harness.bad_registry import BadRegistry, bad_registry, digest
from tests.harness.hosts import Host, eventually, host
from tests.harness.images import busybox_rootfs

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def layer() -> bytes:
    return busybox_rootfs()


@pytest.fixture
def registry() -> Iterator[BadRegistry]:
    with bad_registry() as made:
        yield made


@pytest.fixture(scope="module")
def swarm() -> Iterator[Host]:
    # On this machine's network, because the daemon reaches the registry on loopback.
    with host("stalls", namespace=False) as made:
        made.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:24771")
        yield made
        made.docker("swarm", "leave", "--force")


def create(on: Host, name: str, image: str) -> None:
    on.docker("service", "create", "-d", "--no-resolve-image", "--name", name, "--stop-signal", "KILL", image)


def test_stalled_pulls_take_no_places_of_other_registries(swarm: Host, registry: BadRegistry, layer: bytes) -> None:
    names = [f"slow{number}" for number in range(pace.PULLS_OF_A_REGISTRY + 1)]
    for number, name in enumerate(names):
        registry.put(name, layer + bytes(512 * (number + 1)), slow=True)
        create(swarm, name, f"{registry.address}/{name}:1")
    eventually(lambda: registry.asked >= pace.PULLS_OF_A_REGISTRY, "its places are taken", show=swarm.log)
    with bad_registry() as other:
        other.put("good", layer)
        create(swarm, "good", f"{other.address}/good:1")
        eventually(
            lambda: swarm.docker("ps", "-q", "--filter", "name=good").stdout.strip(), "another's runs", show=swarm.log
        )
    assert len(faults.programs(swarm, "skopeo")) == pace.PULLS_OF_A_REGISTRY
    swarm.docker("service", "rm", *names, "good")
    eventually(lambda: not faults.programs(swarm, "skopeo"), "no pull is left of them", patience=10, show=swarm.log)
    eventually(lambda: not list((swarm.data_root / "images/staging").iterdir()), "nor what it brought")
    eventually(lambda: not swarm.docker("ps", "-aq").stdout.split(), "no containers", show=swarm.log)


def test_a_place_is_free_again_when_its_service_goes(swarm: Host, registry: BadRegistry, layer: bytes) -> None:
    names = [f"slow{number}" for number in range(pace.PULLS_OF_A_REGISTRY)]
    for number, name in enumerate(names):
        registry.put(name, layer + bytes(512 * (number + 1)), slow=True)
        create(swarm, name, f"{registry.address}/{name}:1")
    eventually(lambda: registry.asked >= len(names), "its places are taken", show=swarm.log)
    registry.put("good", layer)
    create(swarm, "good", f"{registry.address}/good:1")
    swarm.docker("service", "rm", names[0])
    eventually(
        lambda: swarm.docker("ps", "-q", "--filter", "name=good").stdout.strip(), "the next one's turn", show=swarm.log
    )
    swarm.docker("service", "rm", *names[1:], "good")
    eventually(lambda: not faults.programs(swarm, "skopeo"), "no pull is left of them", patience=10, show=swarm.log)
    eventually(lambda: not swarm.docker("ps", "-aq").stdout.split(), "no containers", show=swarm.log)


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(Paths(tmp_path / "data", tmp_path / "exec"))


async def test_a_trickle_is_given_up(
    images: Images, registry: BadRegistry, layer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "STALLED_AFTER", 2.0)
    registry.put("slow", layer, slow=True)
    with pytest.raises(ShoalError, match="was given up: the registry sent less than 64 KiB in 2 s"):
        await images.pull(f"{registry.address}/slow:1", None)
    assert registry.asked
    assert not children()


async def test_a_layer_without_end_is_given_up(
    images: Images, registry: BadRegistry, layer: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pace, "SLACK_BYTES", 1 << 20)
    registry.put("endless", layer)
    registry.endless.add(digest(layer))
    with pytest.raises(ShoalError, match="was given up: the registry sends more than the"):
        await images.pull(f"{registry.address}/endless:1", None)
    assert not list((tmp_path / "data/images/staging").iterdir())
    assert not children()


def children() -> list[str]:
    found = subprocess.run(["pgrep", "-P", str(os.getpid()), "-x", "skopeo"], capture_output=True, text=True)
    return found.stdout.split()
