"""A container cannot change its own limits: it can read its cgroups and nothing else."""

import json
from collections.abc import Iterator
from functools import partial

import pytest

from tests.cluster.faults import live_cgroups, pids_of
from tests.harness.hosts import CGROUPS, Host, eventually, host
from tests.interop.conftest import IMAGE, import_image

pytestmark = pytest.mark.root

# All mounts below: a hierarchy for each controller with v1, the one hierarchy with v2.
ATTACK = """
for at in $(awk '$5 ~ "^/sys/fs/cgroup" { print $5 }' /proc/self/mountinfo) /sys/fs/cgroup/*; do
    mkdir "$at/mine" 2>/dev/null && echo "made $at/mine"
    for file in "$at"/*; do
        [ -f "$file" ] && (echo -1 > "$file") 2>/dev/null && echo "wrote $file"
    done
    [ -f "$at/freezer.state" ] && (echo FROZEN > "$at/freezer.state") 2>/dev/null && echo "froze"
    mount -o remount,rw "$at" 2>/dev/null && echo "mounted $at again"
done
grep -c /sys/fs/cgroup /proc/self/mountinfo
echo tried all
exec sleep 1d
"""


@pytest.fixture(scope="module")
def swarm() -> Iterator[Host]:
    with host("cgroups") as made:
        made.docker("swarm", "init")
        import_image(made)
        # An image may declare a folder below it as a volume.
        import_image(made, "below:latest", "VOLUME /sys/fs/cgroup-mine")
        yield made
        made.docker("swarm", "leave", "--force")


def create(on: Host, name: str, image: str, script: str, *flags: str) -> None:
    on.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", name, *flags, "--restart-condition", "none",
        image, "sh", "-c", script,
    )  # fmt: skip


def said(on: Host, name: str) -> str:
    return on.docker("service", "logs", "--raw", name, check=False).stdout


STOP = ("--stop-signal", "KILL")  # as process 1 it ignores others
LIMITS = ("--limit-memory", "64M", "--limit-cpu", "0.5", "--limit-pids", "50")


def test_no_limit_is_the_containers_to_change(swarm: Host) -> None:
    create(swarm, "greedy", IMAGE, ATTACK, *LIMITS, *STOP, "--user", "root")
    eventually(lambda: "tried all" in said(swarm, "greedy"), "it has tried", show=lambda: said(swarm, "greedy"))
    lines = said(swarm, "greedy").splitlines()
    assert lines[1:] == ["tried all"], lines
    assert int(lines[0]) >= 1  # so that there was something to attack
    (container,) = live_cgroups(swarm)
    assert pids_of(swarm, container)
    swarm.docker("service", "rm", "greedy")
    eventually(lambda: not live_cgroups(swarm), "it is gone")


def test_a_mount_whose_name_only_begins_like_theirs_opens_none(swarm: Host) -> None:
    mount = ("--mount", "type=tmpfs,dst=/sys/fs/cgroup/systemd/../../cgroup")
    create(swarm, "alike", IMAGE, ATTACK, *LIMITS, *STOP, *mount)
    create(swarm, "image", "below:latest", ATTACK, *LIMITS, *STOP)
    for name in ("alike", "image"):
        eventually(
            partial(lambda at: "tried all" in said(swarm, at) or failed(swarm, at), name),
            "it has tried or could not start",
        )
        assert not [line for line in said(swarm, name).splitlines() if "/pids" in line or "/memory" in line]
    swarm.docker("service", "rm", "alike", "image")
    eventually(lambda: not swarm.docker("ps", "-aq").stdout.split(), "it is gone")


def failed(on: Host, name: str) -> bool:
    lines = on.docker("service", "ps", name, "--format", "{{json .CurrentState}}").stdout.splitlines()
    return bool(lines) and all(json.loads(line).startswith(("Failed", "Rejected")) for line in lines)


def test_a_frozen_container_is_killed(swarm: Host) -> None:
    create(swarm, "frozen", IMAGE, "echo here; while :; do sleep 1; done")
    # Until the container has printed something, the process in its cgroups may be the runtime's, which is still
    # starting it.
    eventually(lambda: "here" in said(swarm, "frozen"), "it runs", show=swarm.log)
    (container,) = live_cgroups(swarm)
    files = list(CGROUPS.glob(f"*/shoal-{swarm.tag()}/{container}/freezer.state"))
    files += list(CGROUPS.glob(f"shoal-{swarm.tag()}/{container}/cgroup.freeze"))
    (file,) = files
    file.write_text("FROZEN" if file.name == "freezer.state" else "1")
    swarm.docker("service", "update", "-d", "--stop-grace-period", "1s", "frozen")
    swarm.docker("service", "rm", "frozen")
    eventually(lambda: container not in live_cgroups(swarm), "it is gone", show=swarm.log)
