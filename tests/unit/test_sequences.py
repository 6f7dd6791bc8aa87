"""The files of sequences, and the comparison of the two swarms' pictures (`tests/harness/sequences`)."""

from pathlib import Path
from typing import Any

import pytest

from tests.harness.sequences.compare import differences, problems
from tests.harness.sequences.files import Difference, Look, Run, Sequence, Wait, arguments, every, read
from tests.harness.sequences.player import holds
from tests.harness.sequences.state import Snapshot, in_motion, picture, seen, text

NODE = {"ID": "n1", "Description": {"Hostname": "docker-of-1"}, "Spec": {}, "Status": {"State": "ready"}}
HOSTS = {"node1": "docker-of-1"}
SEQUENCE = Sequence(name="some", title="", steps=())


def service(name: str, **more: Any) -> dict[str, Any]:
    mode: dict[str, dict[str, int]] = {more.pop("mode", "Replicated"): {}}
    spec = {"Name": name, "TaskTemplate": {"ForceUpdate": 1, "Runtime": "container"}, "Mode": mode}
    return {"ID": f"id-{name}", "Spec": spec, "Endpoint": {}, "CreatedAt": "2026-01-01T00:00:00Z", **more}


def task(of: str, state: str, desired: str, *, slot: int = 1, at: str = "1", **status: Any) -> dict[str, Any]:
    return {
        "ID": f"{of}.{slot}.{at}",
        "ServiceID": f"id-{of}",
        "Slot": slot,
        "NodeID": "n1",
        "CreatedAt": f"2026-01-01T00:00:00.{at}Z",
        "DesiredState": desired,
        "Status": {"State": state, **status},
        "Spec": {"ForceUpdate": 1},
    }


def snapshot(*things: dict[str, Any]) -> Snapshot:
    services = [thing for thing in things if "Endpoint" in thing]
    tasks = [thing for thing in things if "Status" in thing]
    return Snapshot(services, tasks, [NODE], {t["ServiceID"]: t["ServiceID"].removeprefix("id-") for t in tasks})


def test_there_are_enough_files_and_each_can_be_read() -> None:
    sequences = every()
    assert len(sequences) >= 40
    assert len({sequence.title for sequence in sequences}) == len(sequences)
    assert all(sequence.steps for sequence in sequences)
    # A service's name has at most 63 characters, and `@` stands for the file's name.
    assert max(len(sequence.name) for sequence in sequences) < 50


def test_a_sequences_services_are_its_own() -> None:
    """A sequence finds its services by the beginning of their names, so no sequence's name may be the beginning of
    another's.
    """
    beginnings = [sequence.service("@") for sequence in every()]
    assert not [(a, b) for a in beginnings for b in beginnings if a != b and b.startswith(a)]


@pytest.mark.parametrize(
    "body",
    [
        'steps = [{ run = "a b", look = "x" }]',
        'steps = [{ run = "a b", more = 1 }]',
        'steps = [{ wait = "@web", runing = 1 }]',
        "steps = [{}]",
        'steps = []\nnodes = 3',
        'steps = []\nknown = true',
        'steps = []\ndiffers = [{ at = "x" }]',
    ],
)  # fmt: skip
def test_malformed_files_are_refused(body: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(f'title = "x"\n{body}\n')
    with pytest.raises((ValueError, TypeError)):
        read(tmp_path / "x.toml")


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_text(
        'title = "Some"\nalone = true\nsteps = [\n{ run = "service scale @web=2" },\n'
        '{ wait = "@web", running = 2, states = { failed = 1 } },\n{ look = "then" },\n]\n'
        'differs = [{ at = "end/*", reason = "why" }]\n'
    )
    assert read(tmp_path / "some.toml") == Sequence(
        name="some",
        title="Some",
        alone=True,
        steps=(
            Run(("service", "scale", "@web=2")),
            Wait("@web", running=2, states={"failed": 1}),
            Look("then"),
        ),
        differences=(Difference("end/*", "why"),),
    )


def test_commands_get_names_and_flags() -> None:
    command = Run(("service", "create", "--name", "@web", "--stop-signal", "TERM", "bb", "echo", "node1"))
    assert arguments(SEQUENCE, command, HOSTS) == [
        *("service", "create", "--detach", "--no-resolve-image"),
        *("--name", "some--web", "--stop-signal", "TERM", "bb", "echo", "docker-of-1"),
    ]
    assert arguments(SEQUENCE, Run(("node", "ls")), HOSTS) == ["node", "ls"]
    back = arguments(SEQUENCE, Run(("service", "update", "--rollback", "@web")), HOSTS)
    assert back == ["service", "update", "--detach", "--rollback", "some--web"], "docker takes no other flag with it"


def test_what_chance_decides_is_taken_out_of_texts() -> None:
    said = "some--web on docker-of-1: task jbw2w1nqdpa98o8j3f0hto7ka failed"
    assert text(said, SEQUENCE, HOSTS) == "@web on node1: task <id> failed"
    assert text("No such image: x:1 (no route)", SEQUENCE, HOSTS) == text("No such image: x:1", SEQUENCE, HOSTS)


def test_a_picture_has_a_slots_tasks_from_the_oldest_on_and_says_whose_spec_they_have() -> None:
    old = task("some--web", "failed", "shutdown", at="15", Err="task: non-zero exit (1)") | {"Spec": {"ForceUpdate": 0}}
    old["Status"]["ContainerStatus"] = {"ExitCode": 1}
    new = task("some--web", "running", "running", at="2")
    shown = snapshot(service("some--web"), service("other--web"), new, old, task("other--web", "running", "running"))
    made = picture(SEQUENCE, seen(SEQUENCE, shown), HOSTS)
    assert list(made) == ["@web"]
    first, second = made["@web"]["tasks"]["1"]
    assert (first["state"], first["spec"], first["exit"], first["node"]) == ("failed", "older", 1, "node1")
    assert (second["state"], second["spec"], "exit" in second) == ("running", "present", False)


def test_where_any_place_may_be_hit_the_histories_are_a_heap() -> None:
    loose = Sequence(name="some", title="", steps=(), any_place=True)
    one, two = (
        snapshot(
            service("some--web"),
            task("some--web", "failed", "shutdown", slot=failed),
            task("some--web", "running", "running", slot=3 - failed),
        )
        for failed in (1, 2)
    )
    assert picture(loose, one, HOSTS) == picture(loose, two, HOSTS)
    assert picture(SEQUENCE, one, HOSTS) != picture(SEQUENCE, two, HOSTS)


def test_tasks_outlive_their_service_in_the_picture() -> None:
    shown = picture(SEQUENCE, snapshot(task("some--web", "running", "remove")), HOSTS)
    assert shown["@web"]["gone"] is True
    assert len(shown["@web"]["tasks"]["1"]) == 1


@pytest.mark.parametrize(("mode", "place"), [("ReplicatedJob", "0"), ("GlobalJob", "node1"), ("Global", "node1")])
def test_a_task_without_a_slot_is_a_nodes_or_a_jobs_first(mode: str, place: str) -> None:
    first = task("some--web", "complete", "complete")
    del first["Slot"]
    shown = picture(SEQUENCE, snapshot(service("some--web", mode=mode), first), HOSTS)
    assert list(shown["@web"]["tasks"]) == [place]


@pytest.mark.parametrize(
    ("state", "desired", "error", "moving"),
    [
        ("running", "running", "", False),
        ("ready", "ready", "", False),
        ("ready", "running", "", False),
        ("pending", "running", "no suitable node", False),
        ("pending", "running", "", True),
        ("preparing", "running", "", True),
        ("starting", "ready", "", True),
        ("running", "shutdown", "", True),
        ("pending", "shutdown", "no suitable node", False),
        ("pending", "remove", "no suitable node", True),
        ("shutdown", "shutdown", "", False),
        ("failed", "running", "", False),
        ("complete", "remove", "", True),
    ],
)
def test_what_moves(state: str, desired: str, error: str, moving: bool) -> None:
    assert in_motion(snapshot(task("some--web", state, desired, Err=error))) is moving


@pytest.mark.parametrize(
    ("wait", "so"),
    [
        (Wait("@web", running=1), True),
        (Wait("@web", running=2), False),
        (Wait("@web", states={"failed": 1, "running": 1}), True),
        (Wait("@web", states={"failed": 2}), False),
        (Wait("@web", tasks=2), True),
        (Wait("@web", tasks=1), False),
        (Wait("@web", update="paused", message="update paused due to"), True),
        (Wait("@web", update="completed"), False),
        (Wait("@web", message="rollback"), False),
        (Wait("@web", error="task: non-zero"), True),
        (Wait("@web", error="no suitable node"), False),
        (Wait("@web", gone=True), False),
        (Wait("@other", gone=True), True),
        (Wait("@web", running=1, tasks=3), False),
    ],
)
def test_what_is_waited_for(wait: Wait, so: bool) -> None:
    paused = {"State": "paused", "Message": "update paused due to failure or early termination of task x"}
    shown = snapshot(
        service("some--web", UpdateStatus=paused),
        task("some--web", "failed", "shutdown", Err="task: non-zero exit (1)"),
        task("some--web", "running", "running", at="2"),
    )
    assert holds(wait, SEQUENCE, shown) is so


def test_differences_are_told_by_their_paths() -> None:
    docker = {"end": {"@web": {"tasks": {"1": [{"state": "failed"}]}, "previous": None, "labels": {}}}}
    shoal = {"end": {"@web": {"tasks": {"1": [{"state": "running", "exit": 0}]}}}}
    assert differences(docker, shoal) == {
        "end/@web/tasks/1/0/exit": ("(nothing)", 0),
        "end/@web/tasks/1/0/state": ("failed", "running"),
    }


def test_a_difference_may_be_one_of_older_engines_alone() -> None:
    always, once = Difference("a", "so"), Difference("b", "mended since", before=24)
    sequence = Sequence("some", "Some", (), differences=(always, once))
    assert sequence.differences_to("20.10.24+dfsg1") == (always, once)
    assert sequence.differences_to("24.0.0") == (always,)


def test_known_differences_are_forgiven_while_they_are_there() -> None:
    known = (Difference("end/*/state", "why"),)
    there = ({"end": {"a": {"state": "x"}}}, {"end": {"a": {"state": "y"}}})
    assert problems(*there, known) == []
    assert problems(*there, ()) == ["end/a/state: Docker has 'x', Shoal 'y'"]
    assert problems(there[0], there[0], known) == ["end/*/state: is listed as a difference (why), and is none"]
    more = ({"end": {"a": {"state": "x", "exit": 1}}}, {"end": {"a": {"state": "y", "exit": 2}}})
    assert problems(*more, known) == ["end/a/exit: Docker has 1, Shoal 2"]
