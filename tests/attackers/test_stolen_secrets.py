"""A worker's stolen certificate: it gets the secrets of that worker's tasks, and of no other's."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shoal.api import v1 as api
from shoal.api.gen.control_grpc import ControlStub
from shoal.api.gen.dispatcher_grpc import DispatcherStub
from tests.cluster.swarms import get, tasks, wait_running
from tests.harness.hosts import Host, eventually
from tests.harness.stolen_worker import TIMEOUT, Speaker, StolenWorker, stolen_worker

pytestmark = pytest.mark.root

OWN, OTHERS, UNUSED = "canary-of-its-own", "canary-of-others", "canary-of-nobody"


@pytest.fixture(scope="module")
def stolen() -> Iterator[StolenWorker]:
    with stolen_worker("stolen-secrets", managers=2) as made:
        yield made
        made.check_changes()


def use(manager: Host, service: str, secret: str, data: str) -> str:
    """Make a secret and a config with this content, and let a service use both. Returns the secret's id."""
    object_id = manager.docker("secret", "create", secret, "-", input=data).stdout.strip()
    manager.docker("config", "create", secret, "-", input=data)
    update = ("service", "update", "-d", "--no-resolve-image", "--update-monitor", "50ms")
    manager.docker(*update, "--secret-add", secret, "--config-add", f"source={secret},target=/{secret}", service)
    return object_id


async def assignments(speaker: Speaker) -> list[api.AssignmentChange]:
    """Return the complete assignments of the worker, as a new stream tells them."""
    async with speaker.dispatcher.Assignments.open() as stream:
        await stream.send_message(api.AssignmentsRequest(session_id=speaker.session_id), end=True)
        async with asyncio.timeout(TIMEOUT):
            first = await stream.recv_message()
        assert first is not None
        assert first.type == api.AssignmentsMessage.COMPLETE
        await stream.cancel()
        return list(first.changes)


def values(changes: list[api.AssignmentChange]) -> set[bytes]:
    kinds = [(change.assignment.WhichOneof("item"), change.assignment) for change in changes]
    return {getattr(assignment, kind).spec.data for kind, assignment in kinds if kind in ("secret", "config")}


def assigned(changes: list[api.AssignmentChange]) -> set[str]:
    return {change.assignment.task.id for change in changes if change.assignment.HasField("task")}


def current(manager: Host, service: str) -> list[str]:
    return [task["ID"] for task in tasks(manager, service) if task["DesiredState"] == "running"]


def test_it_gets_the_secrets_of_its_own_tasks_alone(stolen: StolenWorker) -> None:
    manager = stolen.manager
    use(manager, "others", "others", OTHERS)
    eventually(
        lambda: get(manager, "/services/others").get("UpdateStatus", {}).get("State") == "completed", "it is updated"
    )
    manager.docker("secret", "create", "unused", "-", input=UNUSED)
    use(manager, "of-worker", "own", OWN)
    wait_running(manager, "others", {manager.hostname: 1})
    (stolen.others_task,) = [task for task in tasks(manager, "others") if task["DesiredState"] == "running"]

    async def story(speaker: Speaker) -> list[api.AssignmentChange]:
        # The old task of the update has to be shut down before the new one is assigned: its worker says so.
        while True:
            told = await assignments(speaker)
            if values(told):
                return told
            for change in told:
                task = change.assignment.task
                if task.desired_state >= api.SHUTDOWN and task.status.state <= api.RUNNING:
                    await speaker.report(task.id, api.TaskStatus(state=api.SHUTDOWN))
            await asyncio.sleep(0.1)

    told = stolen.play(story)
    assert values(told) == {OWN.encode()}
    assert set(current(manager, "of-worker")) <= assigned(told)
    assert not set(current(manager, "others")) & assigned(told)
    for text in (OTHERS, UNUSED):
        assert text.encode() not in b"".join(change.SerializeToString() for change in told)
    stolen.check()


def test_what_it_says_brings_it_no_others_secret(stolen: StolenWorker) -> None:
    """It names others' tasks and secrets wherever it may say something, and asks where only managers may."""
    (theirs,) = current(stolen.manager, "others")
    (found,) = [one for one in get(stolen.manager, "/secrets") if one["Spec"]["Name"] == "others"]

    async def story(speaker: Speaker) -> tuple[dict[str, object], list[api.AssignmentChange]]:
        seen: dict[str, object] = {}
        control = ControlStub(speaker.channel)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "get": lambda: control.GetSecret(api.GetSecretRequest(secret_id=found["ID"]), timeout=TIMEOUT),
            "list": lambda: control.ListSecrets(api.ListSecretsRequest(), timeout=TIMEOUT),
            "config": lambda: control.ListConfigs(api.ListConfigsRequest(), timeout=TIMEOUT),
            "tasks": lambda: control.ListTasks(api.ListTasksRequest(), timeout=TIMEOUT),
            "status": lambda: speaker.report(theirs, api.TaskStatus(state=api.FAILED)),
        }
        for name, call in calls.items():
            try:
                seen[name] = await call()
            except GRPCError as error:
                seen[name] = error.status
        description = api.NodeDescription(hostname=stolen.manager.hostname)  # the node that has the others' task
        async with DispatcherStub(speaker.channel).Session.open() as session:
            request = api.SessionRequest(description=description, session_id=speaker.session_id)
            await session.send_message(request, end=True)
            try:
                await session.recv_message()
            except GRPCError as error:
                seen["session"] = error.status
            await session.cancel()
        try:
            return seen, await assignments(speaker)
        except GRPCError as error:
            seen["assignments"] = error.status
            return seen, []

    seen, told = stolen.play(story)
    for name in ("get", "list", "config", "tasks", "status"):
        assert seen[name] is Status.PERMISSION_DENIED, (name, seen[name])
    assert values(told) <= {OWN.encode()}
    assert OTHERS.encode() not in b"".join(change.SerializeToString() for change in told)


def test_it_loses_them_with_the_task(stolen: StolenWorker) -> None:
    stolen.manager.docker("service", "rm", "of-worker")

    async def story(speaker: Speaker) -> set[bytes]:
        async with asyncio.timeout(6 * TIMEOUT):
            while True:
                told = await assignments(speaker)
                for change in told:
                    if change.assignment.HasField("task") and change.assignment.task.status.state <= api.RUNNING:
                        await speaker.report(change.assignment.task.id, api.TaskStatus(state=api.SHUTDOWN))
                if not assigned(told):
                    return values(told)
                await asyncio.sleep(0.1)

    assert stolen.play(story) == set()
