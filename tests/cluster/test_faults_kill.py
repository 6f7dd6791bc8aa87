"""All processes of a swarm are killed, in turn, while services come, change and go. Then everything must be right
again.

The rounds come from a seed, which a failure prints. SHOAL_FAULT_SEED repeats it, SHOAL_FAULT_ROUNDS sets the number of
rounds.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.cluster import faults
from tests.cluster.faults import (
    Sniper,
    call,
    change,
    create,
    end,
    ensure_running,
    kill,
    programs,
    remove,
    scale,
    settled,
)
from tests.harness.hosts import Host, eventually, patient

pytestmark = pytest.mark.root

SEED = int(os.environ.get("SHOAL_FAULT_SEED") or random.randrange(1 << 32))
ROUNDS = int(os.environ.get("SHOAL_FAULT_ROUNDS", "6"))


@pytest.fixture(scope="module")
def module_swarm() -> Iterator[Host]:
    with faults.swarm("kill") as made:
        yield made
        end(made)


@pytest.fixture
def swarm(module_swarm: Host) -> Iterator[Host]:
    """Yield the module's swarm, without services before and after, and with nothing left of any container."""
    yield module_swarm
    ensure_running(module_swarm)
    faults.remove_all(module_swarm)
    faults.nothing_remains(module_swarm)


@pytest.mark.parametrize("program", ["conmon", "crun"])
def test_containers_whose_makers_are_killed_are_made_again(swarm: Host, program: str) -> None:
    create(swarm, "web", 2)
    settled(swarm, {"web": 2})
    with Sniper(swarm, program, at_most=5) as sniper:
        # On a busy machine some are too quick for it: there are more then.
        for count in range(12, 45, 8):
            scale(swarm, "web", count)
            settled(swarm, {"web": count})
            if sniper.killed == 5:
                break
    assert sniper.killed  # how many is chance


def test_makers_killed_in_the_middle_of_an_update_and_a_removal(swarm: Host) -> None:
    create(swarm, "web", 6)
    settled(swarm, {"web": 6})

    def edit(spec: dict[str, Any]) -> None:
        spec["TaskTemplate"]["ContainerSpec"]["Env"] = ["A=1"]
        spec["UpdateConfig"] = {"Parallelism": 2, "FailureAction": "continue"}

    with Sniper(swarm, "conmon", at_most=3) as sniper:
        change(swarm, "web", edit)
        eventually(lambda: sniper.killed == 3, "three were killed", show=swarm.log)

    def updated() -> bool:
        found = faults.containers(swarm, "web")
        return len(found) == 6 and all(
            "A=1" in (call(swarm, "GET", f"/containers/{one['Id']}/json")["Config"]["Env"] or ()) for one in found
        )

    eventually(lambda: _sure(updated), "all were updated", patience=60.0, show=swarm.log)
    settled(swarm, {"web": 6})
    remove(swarm, "web")
    kill(programs(swarm, "conmon")[:3])
    faults.nothing_remains(swarm)


def _sure(look: Callable[[], bool]) -> bool:
    seen: list[bool] = []
    return faults.try_to(lambda: seen.append(look())) and seen[0]


def test_daemon_killed_while_it_starts_containers(swarm: Host) -> None:
    create(swarm, "web", 1)
    settled(swarm, {"web": 1})
    for count in (10, 20):
        scale(swarm, "web", count)
        eventually(partial(lambda at: len(faults.live_cgroups(swarm)) > at, count - 6), "some run", show=swarm.log)
        before = faults.live_cgroups(swarm)
        swarm.stop(signal.SIGKILL)
        ensure_running(swarm)
        settled(swarm, {"web": count})
        # Containers that ran were not started again. One may have been killed between its start and its record.
        assert len(before - faults.live_cgroups(swarm)) <= 4


def test_daemon_ended_by_sigterm_while_fifty_tasks_start(swarm: Host) -> None:
    create(swarm, "web", 50)
    eventually(lambda: len(faults.live_cgroups(swarm)) >= 5, "some run", show=swarm.log)
    begun = time.monotonic()
    assert swarm.stop(signal.SIGTERM) == 0
    assert time.monotonic() - begun < patient(10)
    ensure_running(swarm)
    settled(swarm, {"web": 50})


def test_etcd_killed_again_and_again_loses_nothing(swarm: Host) -> None:
    known = set()
    for number in range(12):
        name = f"s{number}"
        eventually(
            partial(lambda name: faults.try_to(lambda: create(swarm, name, 0)) or _there(swarm, name), name),
            "it was written",
            show=swarm.log,
        )
        known.add(name)
        if number % 4 == 3:
            assert kill(programs(swarm, "etcd")) >= 1
    ensure_running(swarm)
    assert {one["Spec"]["Name"] for one in call(swarm, "GET", "/services")} == known


def _there(on: Host, name: str) -> bool:
    return faults.try_to(lambda: call(on, "GET", f"/services/{name}"))


def test_unpacker_killed_leaves_no_half_an_image(swarm: Host) -> None:
    with Sniper(swarm, "unpack_child.py", at_most=1) as sniper:
        done = faults.try_to(lambda: faults.import_image(swarm, "half:1"))
        eventually(lambda: sniper.killed or done, "it was killed, or too late")
    if sniper.killed:
        assert not done
        assert not [one for one in call(swarm, "GET", "/images/json") if "half:1" in (one["RepoTags"] or [])]
    assert not list((swarm.data_root / "images" / "staging").iterdir())
    faults.import_image(swarm, "half:1")
    call(swarm, "DELETE", "/images/half:1")


def test_container_whose_process_number_belongs_to_another_is_not_signalled(swarm: Host) -> None:
    # The daemon is stopped while conmon and its container end. Then the recorded process ids belong to another process.
    create(swarm, "web", 1, container={"StopGracePeriod": 0})
    settled(swarm, {"web": 1})
    (container,) = faults.live_cgroups(swarm)
    state = swarm.exec_root / "containers" / container / "state.json"
    swarm.stop(signal.SIGKILL)
    kill(programs(swarm, "conmon"))
    kill(faults.pids_of(swarm, container))
    stranger = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1000")
    try:
        data = json.loads(state.read_text())
        data["pid"] = data["running"]["conmon_pid"] = stranger
        state.write_text(json.dumps(data))
        (state.parent / "conmon.pid").write_text(str(stranger))
        (state.parent / "pid").write_text(str(stranger))
        ensure_running(swarm)
        settled(swarm, {"web": 1})
        assert faults.live_cgroups(swarm) != {container}
        assert os.waitpid(stranger, os.WNOHANG) == (0, 0)  # it lives
    finally:
        kill([stranger])
        os.waitpid(stranger, 0)


class Story:
    """Rounds of changes and faults. What was acknowledged is remembered and compared at the end."""

    def __init__(self, on: Host, seed: int) -> None:
        self.on, self.rng = on, random.Random(seed)
        self.known: dict[str, set[int]] = {}  # service -> the numbers of replicas that it may have; -1: it may be gone
        self.told: list[str] = []

    def write(self, name: str, value: int, work: Callable[[], object]) -> None:
        """Make a write. Afterwards its result is known, or in doubt if no answer came."""
        done = faults.try_to(work)
        before = self.known.get(name, {-1})
        self.known[name] = {value} if done else before | {value}
        self.told.append(f"{name}={value}{'' if done else '?'}")

    def client(self, number: int, steps: int, rng: random.Random) -> None:
        """Act as a client, on services of its own."""
        for _ in range(steps):
            self.change(f"s{number}{rng.randrange(2)}", rng)

    def change(self, name: str, rng: random.Random) -> None:
        """Make one change, as a client."""
        on, count = self.on, rng.randrange(9)
        there = self.known.get(name, {-1}) != {-1}
        if there and rng.random() < 0.25:
            self.write(name, -1, lambda: remove(on, name))
        elif there and rng.random() < 0.3:
            number = rng.randrange(1000)
            self.told.append(f"{name} env {number}{'' if faults.try_to(lambda: update(on, name, number)) else '?'}")
        elif there:
            self.write(name, count, lambda: scale(on, name, count))
        else:
            mounts = [{"Type": "volume", "Source": name, "Target": "/kept"}] if rng.random() < 0.5 else []
            self.write(name, count, lambda: create(on, name, count, container={"Mounts": mounts}))

    def fault(self) -> None:
        """Make one fault."""
        rng, on = self.rng, self.on
        kind = rng.choice(["shoald", "etcd", "conmon", "crun", "process", "sigterm", "power"])
        self.told.append(kind)
        if kind == "shoald":
            on.stop(signal.SIGKILL)
        elif kind == "sigterm":
            on.stop(signal.SIGTERM)
        elif kind == "power":
            on.go_down()
        elif kind == "process":
            for container in sorted(faults.live_cgroups(on)):
                if rng.random() < 0.4:
                    kill(faults.pids_of(on, container)[:1])
        else:
            kill([pid for pid in programs(on, kind) if rng.random() < 0.6])

    def round(self) -> None:
        """Make faults while clients work, then start the daemon again."""
        rng = self.rng
        clients = [
            threading.Thread(target=self.client, args=(number, rng.randrange(2, 6), random.Random(rng.random())))
            for number in range(2)
        ]
        for client in clients:
            client.start()
        for _ in range(rng.randrange(1, 4)):
            time.sleep(rng.random() * 0.3)  # at whatever point the clients are
            if self.on.process is None or self.on.process.poll() is not None:
                self.on.start()
                self.told.append("start")
            self.fault()
        for client in clients:
            client.join()
        ensure_running(self.on)
        self.told.append("|")

    def check(self) -> None:
        """Check that everything acknowledged is there, and that exactly what is there runs."""
        found = {
            one["Spec"]["Name"]: one["Spec"]["Mode"]["Replicated"]["Replicas"]
            for one in call(self.on, "GET", "/services")
        }
        for name, may in self.known.items():
            assert found.get(name, -1) in may, f"{name} is {found.get(name, -1)}, may be {may}"
        assert set(found) <= set(self.known)
        self.known = {name: {found.get(name, -1)} for name in self.known}
        settled(self.on, found)
        for name in found:
            eventually(partial(_sure, partial(updated, self.on, name)), f"{name} is updated", patience=60.0)
        settled(self.on, found)


def update(on: Host, name: str, number: int) -> None:
    """Update a service's environment, two tasks at a time, also if tasks fail."""

    def edit(spec: dict[str, Any]) -> None:
        spec["TaskTemplate"]["ContainerSpec"]["Env"] = [f"NUMBER={number}"]
        spec["UpdateConfig"] = {"Parallelism": 2, "FailureAction": "continue"}

    change(on, name, edit)


def updated(on: Host, name: str) -> bool:
    """Return whether all containers of a service have the environment of its spec."""
    wanted = call(on, "GET", f"/services/{name}")["Spec"]["TaskTemplate"]["ContainerSpec"].get("Env", [])
    found = [call(on, "GET", f"/containers/{one['Id']}/json")["Config"]["Env"] for one in faults.containers(on, name)]
    return all([entry for entry in env or [] if entry.startswith("NUMBER=")] == wanted for env in found)


def test_random_rounds_of_changes_and_faults(swarm: Host) -> None:
    sys.stdout.write(f"SHOAL_FAULT_SEED={SEED} SHOAL_FAULT_ROUNDS={ROUNDS}\n")
    story = Story(swarm, SEED)
    try:
        for _ in range(ROUNDS):
            story.round()
            story.check()
    except AssertionError as error:
        error.add_note(
            f"SHOAL_FAULT_SEED={SEED} SHOAL_FAULT_ROUNDS={ROUNDS}: {' '.join(story.told)}\n{list(faults.refusals)}"
        )
        raise
