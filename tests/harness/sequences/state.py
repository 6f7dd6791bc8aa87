"""Makes a plain picture of a swarm. Everything random is taken out, so that two swarms in the same state have the same
picture.

Ids, times, addresses, process ids and container ids are removed. Services and nodes have their names from the data
file. The tasks of a place are ordered from the oldest to the newest.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.harness.sequences.files import Sequence

JSON = dict[str, Any]

# Messages of the registry's client and of the container runtime. Docker ends the first with the registry's last
# message, or not, and names its shim and the runtime (ours is crun, and is named).
WORDS = (
    (re.compile(r"(No such image: \S+) \(.*", re.DOTALL), r"\1"),
    (re.compile(r"starting container failed: .*?(exec: )"), r"starting container failed: \1"),
    (re.compile(r"\b[0-9a-z]{25}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<container>"),
)
NOWHERE = ("new", "allocated", "pending")
OVER = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")
MOVING = ("new", "allocated", "pending", "assigned", "accepted", "preparing", "starting")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The answers of a swarm's API, read one after another. `names` also has the services that were there before."""

    services: list[JSON]
    tasks: list[JSON]
    nodes: list[JSON]
    names: dict[str, str] = field(default_factory=dict)


def seen(sequence: Sequence, snapshot: Snapshot) -> Snapshot:
    """Return this sequence's part of a snapshot: its services, their tasks, and the nodes if no other sequence uses
    them.
    """
    prefix = sequence.service("@")
    return Snapshot(
        services=[service for service in snapshot.services if service["Spec"]["Name"].startswith(prefix)],
        tasks=[task for task in snapshot.tasks if _name(task, snapshot).startswith(prefix)],
        nodes=snapshot.nodes,
        names=snapshot.names,
    )


def _name(task: JSON, snapshot: Snapshot) -> str:
    return snapshot.names.get(task.get("ServiceID", ""), "")


def tasks_of(name: str, snapshot: Snapshot) -> list[JSON]:
    """Return the tasks of a service by its name in the swarm, oldest first; also those that outlived it."""
    return sorted((task for task in snapshot.tasks if _name(task, snapshot) == name), key=lambda t: moment(t))


def service_of(name: str, snapshot: Snapshot) -> JSON | None:
    return next((service for service in snapshot.services if service["Spec"]["Name"] == name), None)


def moment(thing: JSON) -> str:
    """Return when an object was made, as a text that sorts correctly. Go drops the zeros at the end of a fraction."""
    whole, _, fraction = thing["CreatedAt"].rstrip("Z").partition(".")
    return f"{whole}.{fraction:<09}"


def in_motion(snapshot: Snapshot) -> bool:
    """Return whether some task is still starting or ending. A task for which there is no suitable node is at rest."""
    return any(_moves(task) for task in snapshot.tasks)


def _moves(task: JSON) -> bool:
    state, desired = task["Status"]["State"], task["DesiredState"]
    if state in OVER:
        return bool(desired == "remove")
    if desired in ("shutdown", "remove"):
        # A task that was told to end before it had a node stays as it is; one that is to be removed disappears.
        return desired == "remove" or state not in NOWHERE
    if state == "pending" and task["Status"].get("Err"):
        return False
    return state in MOVING or (desired == "complete" and state == "ready")


def picture(sequence: Sequence, snapshot: Snapshot, hostnames: dict[str, str]) -> JSON:
    """Return the picture of a sequence's part of a snapshot. `hostnames` maps the file's names of nodes to their
    hostnames.
    """
    names = {node["ID"]: node["Description"]["Hostname"] for node in snapshot.nodes}
    ours = {host: told for told, host in hostnames.items()}
    nodes = {node_id: ours.get(name, name) for node_id, name in names.items()}
    services = sorted(
        {_name(task, snapshot) for task in snapshot.tasks} | {s["Spec"]["Name"] for s in snapshot.services}
    )
    made: JSON = {}
    for name in services:
        service = service_of(name, snapshot)
        told = "@" + name.removeprefix(sequence.service("@"))
        made[told] = {
            **(_service(service) if service else {"gone": True}),
            **_places(tasks_of(name, snapshot), service, nodes, any_place=sequence.any_place),
        }
    if sequence.alone:
        made["nodes"] = {
            nodes[node["ID"]]: {**node["Spec"], "state": node["Status"]["State"]} for node in snapshot.nodes
        }
    result = tidy(made, sequence, hostnames)
    assert isinstance(result, dict)
    return result


def _service(service: JSON) -> JSON:
    update = service.get("UpdateStatus") or {}
    job = service.get("JobStatus") or {}
    return {
        "spec": service["Spec"],
        "previous": service.get("PreviousSpec"),
        "update": {
            "state": update.get("State"),
            "message": update.get("Message"),
            "started": "StartedAt" in update,
            "completed": "CompletedAt" in update,
        },
        "iteration": (job.get("JobIteration") or {}).get("Index", 0) and "counted",
        "endpoint": service["Endpoint"].get("Spec"),
    }


def _places(tasks: list[JSON], service: JSON | None, nodes: dict[str, str], *, any_place: bool) -> JSON:
    places: dict[str, list[JSON]] = defaultdict(list)
    for task in tasks:
        # The API leaves out a slot 0, which a replicated job has.
        by_slot = "Slot" in task or (service is not None and "ReplicatedJob" in service["Spec"]["Mode"])
        place = str(task.get("Slot", 0)) if by_slot else nodes.get(task.get("NodeID", ""), "no node")
        places[place].append(_task(task, service, nodes))
    if not any_place:
        return {"tasks": dict(places)}
    return {
        "places": sorted(places),
        "tasks": {str(number): history for number, history in enumerate(sorted(places.values(), key=repr))},
    }


def _task(task: JSON, service: JSON | None, nodes: dict[str, str]) -> JSON:
    status = task["Status"]
    made = {
        "desired": task["DesiredState"],
        "state": status["State"],
        "message": status.get("Message"),
        "error": status.get("Err"),
        "spec": _which_spec(task, service),
    }
    if task.get("NodeID"):
        made["node"] = nodes.get(task["NodeID"], "gone")
    if status["State"] in OVER:
        made["exit"] = (status.get("ContainerStatus") or {}).get("ExitCode", 0)
    return made


def _which_spec(task: JSON, service: JSON | None) -> str:
    """Return which spec of its service a task has: the present one, the previous one, or an older one."""
    if service is None:
        return "none"
    template, former = service["Spec"]["TaskTemplate"], (service.get("PreviousSpec") or {}).get("TaskTemplate", {})
    if _same(task["Spec"], template):
        return "present"
    return "previous" if _same(task["Spec"], former) else "older"


def _same(spec: JSON, template: JSON) -> bool:
    # Only a service names the runtime.
    return {**spec, "Runtime": ""} == {**template, "Runtime": ""}


def tidy(value: Any, sequence: Sequence, hostnames: dict[str, str]) -> Any:
    """Return a value in which every text is without random parts."""
    if isinstance(value, dict):
        made = {tidy(key, sequence, hostnames): tidy(item, sequence, hostnames) for key, item in value.items()}
        if isinstance(made.get("Env"), list):
            # `docker service update` sends an environment in the random order of a Go map.
            made["Env"] = sorted(made["Env"])
        return made
    if isinstance(value, list):
        return [tidy(item, sequence, hostnames) for item in value]
    return text(value, sequence, hostnames) if isinstance(value, str) else value


def text(words: str, sequence: Sequence, hostnames: dict[str, str]) -> str:
    """Return a text with the file's names and without ids."""
    words = words.replace(sequence.service("@"), "@")
    for told, host in hostnames.items():
        words = words.replace(host, told)
    for pattern, instead in WORDS:
        words = pattern.sub(instead, words)
    return words
