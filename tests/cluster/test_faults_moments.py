"""Calls at difficult moments: removing what is being made, leaving during the start, stopping what does not stop, pulls
that are killed, twins with one name.
"""

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import faults
from tests.cluster.faults import Sniper, call, create, end, ensure_running, init, leave, remove, scale, settled
from tests.harness.api import service_spec
from tests.harness.hosts import Host, eventually, host, patient, run
from tests.interop.test_registry import PORT, registry

pytestmark = pytest.mark.root

STUBBORN = ["sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1; done"]


@pytest.fixture
def swarm() -> Iterator[Host]:
    with faults.swarm("moment") as made:
        yield made
        assert made.process is not None
        if made.process.poll() is None:
            assert made.stop() == 0
        assert not made.leftovers()
        assert "Traceback" not in made.log_file.read_text(), made.log_file.read_text()[-20_000:]


def _gone(on: Host) -> None:
    assert not call(on, "GET", "/containers/json?all=1")
    faults.nothing_remains(on)
    assert not (on.data_root / "swarm").exists()
    assert call(on, "GET", "/info")["Swarm"]["LocalNodeState"] == "inactive"


@pytest.mark.parametrize("running", [0, 3, 15])
def test_leaving_in_the_middle_of_a_scale_up_leaves_nothing(swarm: Host, running: int) -> None:
    create(swarm, "web", 40)
    eventually(lambda: len(faults.live_cgroups(swarm)) >= running, "some run", show=swarm.log)
    leave(swarm)
    _gone(swarm)
    call(swarm, "POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377"})
    create(swarm, "web", 3)
    settled(swarm, {"web": 3})
    end(swarm)


def test_services_removed_right_after_they_are_made(swarm: Host) -> None:
    for turn in range(20):
        name = create(swarm, f"web{turn}", 1 + turn % 5)
        remove(swarm, name)
        create(swarm, f"again{turn % 2}", 2)
        remove(swarm, f"again{turn % 2}")
    create(swarm, "stays", 2)
    settled(swarm, {"stays": 2})
    end(swarm)


def test_a_task_that_will_not_stop_is_killed_when_the_node_leaves(swarm: Host) -> None:
    grace = 3600 * 10**9
    create(swarm, "deaf", 2, command=STUBBORN, container={"StopSignal": "SIGTERM", "StopGracePeriod": grace})
    settled(swarm, {"deaf": 2})
    scale(swarm, "deaf", 1)  # its stop may take an hour
    create(swarm, "other", 3)
    eventually(lambda: len(faults.containers(swarm, "other")) == 3, "others go on", show=swarm.log)
    remove(swarm, "other")
    eventually(lambda: not faults.containers(swarm, "other"), "others stop", show=swarm.log)
    # The daemon neither waits for it nor forgets it.
    begun = time.monotonic()
    assert swarm.stop() == 0
    assert time.monotonic() - begun < patient(10)
    ensure_running(swarm)
    assert len(faults.live_cgroups(swarm)) == 2
    remove(swarm, "deaf")
    for container in faults.live_cgroups(swarm):
        call(swarm, "POST", f"/containers/{container}/kill")
    eventually(lambda: not call(swarm, "GET", "/containers/json?all=1"), "they are gone", show=swarm.log)
    end(swarm)


def test_leaving_does_not_wait_for_ever_for_a_task_that_will_not_stop(swarm: Host) -> None:
    grace = 3600 * 10**9
    create(swarm, "deaf", 1, command=STUBBORN, container={"StopSignal": "SIGTERM", "StopGracePeriod": grace})
    settled(swarm, {"deaf": 1})
    begun = time.monotonic()
    leave(swarm)
    assert time.monotonic() - begun < patient(40)
    _gone(swarm)


def test_killed_in_the_middle_of_leaving(swarm: Host) -> None:
    create(swarm, "web", 20)
    settled(swarm, {"web": 20})
    before = faults.live_cgroups(swarm)
    faults.try_to(lambda: _leave_and_die(swarm, before))
    assert swarm.process is not None
    assert swarm.process.poll() is not None
    swarm.start()
    if call(swarm, "GET", "/info")["Swarm"]["LocalNodeState"] != "inactive":
        eventually(lambda: faults.try_to(lambda: call(swarm, "GET", "/nodes")), "it manages", show=swarm.log)
        leave(swarm)
    for one in call(swarm, "GET", "/containers/json?all=1"):
        call(swarm, "DELETE", f"/containers/{one['Id']}?force=1")
    faults.nothing_remains(swarm)
    init(swarm)
    create(swarm, "web", 2)
    settled(swarm, {"web": 2})
    end(swarm)


def _leave_and_die(on: Host, before: set[str]) -> None:
    def die() -> None:
        eventually(lambda: len(faults.live_cgroups(on)) < len(before) - 3, "it leaves", every=0.001)
        on.stop(signal.SIGKILL)

    killer = threading.Thread(target=die)
    killer.start()
    try:
        leave(on)
    finally:
        killer.join()


def test_a_pull_whose_skopeo_is_killed_is_tried_again(swarm: Host, tmp_path: Path) -> None:
    with registry(swarm, tmp_path):
        with Sniper(swarm, "skopeo", at_most=3) as sniper:
            spec = service_spec("app", f"127.0.0.1:{PORT}/test/bb:1", faults.SLEEP, 2, container={"StopSignal": "KILL"})
            call(swarm, "POST", "/services/create", spec)
            eventually(lambda: sniper.killed == 3, "three were killed", show=swarm.log)
        settled(swarm, {"app": 2})
    end(swarm)


def _refused(on: Host) -> str:
    """Start a daemon that must not start. Returns its last message."""
    on.start(wait=False)
    assert on.process is not None
    assert on.process.wait(30) == 1
    assert "Traceback" not in on.log()
    return on.log().splitlines()[-1]


def test_daemons_that_share_what_they_must_not_are_refused_before_they_touch_anything(swarm: Host) -> None:
    create(swarm, "web", 2)
    settled(swarm, {"web": 2})
    before = faults.live_cgroups(swarm)
    with host("twin", namespace=False, start=False) as twin:
        own = twin.data_root, twin.exec_root
        twin.namespace = swarm.namespace  # the same network, in which bridges and rules would collide
        try:
            twin.exec_root = swarm.exec_root
            assert "is in use by another shoald: give this one another --exec-root" in _refused(twin)
            twin.exec_root = own[1]
            # A copy of a data root has the same engine id, and so the same names of bridge, cgroups and rules.
            (twin.data_root / "engine-id").write_text((swarm.data_root / "engine-id").read_text())
            assert f"another shoald on this host has the id that is in {twin.data_root}/engine-id" in _refused(twin)
        finally:
            twin.data_root, twin.exec_root = own
            twin.namespace = ""
            shutil.rmtree(twin.data_root)  # a cleanup by that id must not find the other daemon's
        settled(swarm, {"web": 2})
        assert faults.live_cgroups(swarm) == before
        (container,) = sorted(before)[:1]
        address = call(swarm, "GET", f"/containers/{container}/json")["NetworkSettings"]["Networks"]["bridge"]
        run(*swarm.inside("/bin/busybox", "ping", "-c1", "-W5", address["IPAddress"]))
    end(swarm)
