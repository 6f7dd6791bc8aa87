"""One task, step by step, under virtual time."""

import asyncio

import pytest

from shoal.agent.attachments import VNI_OPTION
from shoal.agent.controller import Controller, Limits
from shoal.agent.executor import container_config, container_id
from shoal.agent.pulls import Pulls
from shoal.agent.task import TaskLoop
from shoal.api import v1 as api
from shoal.errors import Unavailable
from shoal.runtime.types import Container, ContainerConfig, Phase
from shoal.runtime.waits import Waits, silently
from tests.unit.agent.fakes import NODE, FakeContainers, FakeRuntime, task

pytestmark = pytest.mark.looptime


class Busy(FakeContainers):
    """Containers that are already being made when they are made again."""

    refusals = 2

    async def create(
        self,
        config: ContainerConfig,
        *,
        id: str | None = None,  # noqa: A002
        waits: Waits = silently,
    ) -> Container:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("the host is busy")
        return await super().create(config, id=id)


class BusyAfterAWait(Busy):
    """The same, after a short wait for a volume."""

    async def create(
        self,
        config: ContainerConfig,
        *,
        id: str | None = None,  # noqa: A002
        waits: Waits = silently,
    ) -> Container:
        async with waits("waiting for a volume"):
            await asyncio.sleep(0.5)
        return await super().create(config, id=id)


class Broken(FakeContainers):
    """Containers with a defect."""

    async def create(
        self,
        config: ContainerConfig,
        *,
        id: str | None = None,  # noqa: A002
        waits: Waits = silently,
    ) -> Container:
        raise ZeroDivisionError("defect")


def loop_of(
    containers: FakeContainers,
    group: asyncio.TaskGroup,
    seen: list[tuple[float, str, str]],
    made: api.Task,
    limits: Limits | None = None,
) -> TaskLoop:
    now = asyncio.get_running_loop().time
    begun = now()

    def make(each: api.Task) -> Controller:
        pulls = Pulls(FakeRuntime().images, group)
        return Controller(each.id, container_config(each, NODE), "", "", containers, pulls, limits or Limits(1), group)

    def report(_task_id: str, status: api.TaskStatus) -> None:
        seen.append((round(now() - begun, 3), api.TaskState.Name(status.state), status.err))

    return TaskLoop(made, make_controller=make, report=report, group=group, clock=now)


async def test_a_temporary_failure_is_told_and_tried_again_each_second() -> None:
    seen: list[tuple[float, str, str]] = []
    async with asyncio.TaskGroup() as group:
        loop = loop_of(Busy(FakeRuntime().images), group, seen, task())
        loop.start()
        await asyncio.sleep(10)
        await loop.close()
    assert seen == [
        (0.0, "ACCEPTED", ""),
        (0.0, "PREPARING", ""),
        (0.0, "PREPARING", "the host is busy"),
        (2.0, "READY", ""),
        (2.0, "STARTING", ""),
        (2.0, "RUNNING", ""),
    ]


async def test_a_wait_of_which_nothing_was_said_leaves_the_error_of_the_last_try() -> None:
    seen: list[tuple[float, str, str]] = []
    async with asyncio.TaskGroup() as group:
        loop = loop_of(BusyAfterAWait(FakeRuntime().images), group, seen, task())
        loop.start()
        await asyncio.sleep(10)
        await loop.close()
    assert [(state, error) for _, state, error in seen] == [
        ("ACCEPTED", ""),
        ("PREPARING", ""),
        ("PREPARING", "the host is busy"),
        ("READY", ""),
        ("STARTING", ""),
        ("RUNNING", ""),
    ]


async def test_a_container_that_runs_although_its_task_has_ended_is_stopped() -> None:
    containers = FakeContainers(FakeRuntime().images)
    seen: list[tuple[float, str, str]] = []
    async with asyncio.TaskGroup() as group:
        first = loop_of(containers, group, seen, task())
        first.start()
        await asyncio.sleep(1)
        await first.close()
        ended = task()
        ended.status.state = api.FAILED  # as the last daemon reported while it could not read the container's record
        seen.clear()
        again = loop_of(containers, group, seen, ended)
        again.start()
        await asyncio.sleep(30)
        await again.close()
    assert containers.get(container_id(ended.id)).phase is Phase.EXITED
    assert {state for _, state, _ in seen} == {"FAILED"}


async def test_what_a_task_can_run_without_is_said_while_it_runs() -> None:
    """Known fault 27: on its status, until it is mended."""
    seen: list[tuple[float, str, str]] = []
    made = task()
    async with asyncio.TaskGroup() as group:
        loop = loop_of(FakeRuntime().containers, group, seen, made)
        loop.note("port 80 is another's")
        loop.start()
        await asyncio.sleep(1)
        loop.note("")
        loop.note("")
        loop.note("port 81 is another's")
        stopped = api.Task()
        stopped.CopyFrom(made)
        stopped.desired_state = api.SHUTDOWN
        loop.update(stopped)
        await asyncio.sleep(1)
        loop.note("")
        await loop.close()
    assert [(state, words) for _, state, words in seen if state >= "R"] == [
        ("READY", ""),
        ("STARTING", ""),
        ("RUNNING", "port 80 is another's"),
        ("RUNNING", ""),
        ("RUNNING", "port 81 is another's"),
        ("SHUTDOWN", ""),
    ]


async def test_a_task_on_an_overlay_is_led_to_when_it_runs_and_no_more_before_it_is_stopped() -> None:
    containers = FakeRuntime().containers
    made = task()
    network = made.networks.add(addresses=["10.0.1.5/24"]).network
    network.id = network.spec.annotations.name = "blue"
    network.driver_state.options[VNI_OPTION] = "4097"
    network.ipam.configs.add(subnet="10.0.1.0/24", gateway="10.0.1.1")
    async with asyncio.TaskGroup() as group:
        loop = loop_of(containers, group, [], made)
        loop.start()
        await asyncio.sleep(1)
        stopped = api.Task()
        stopped.CopyFrom(made)
        stopped.desired_state = api.SHUTDOWN
        loop.update(stopped)
        await asyncio.sleep(1)
        await loop.close()
    assert [line.split()[0] for line in containers.log] == ["create", "start", "activate", "deactivate", "stop"]


async def test_a_defect_fails_the_task_and_not_the_agent() -> None:
    seen: list[tuple[float, str, str]] = []
    async with asyncio.TaskGroup() as group:
        loop = loop_of(Broken(FakeRuntime().images), group, seen, task())
        loop.start()
        await asyncio.sleep(10)
        await loop.close()
    assert seen[-1] == (0.0, "REJECTED", "ZeroDivisionError: defect")


async def test_an_assignment_that_asks_for_the_same_disturbs_nothing() -> None:
    seen: list[tuple[float, str, str]] = []
    async with asyncio.TaskGroup() as group:
        loop = loop_of(FakeContainers(FakeRuntime().images), group, seen, task())
        loop.start()
        await asyncio.sleep(1)
        told = len(seen)
        labelled = task()
        labelled.annotations.labels["a"] = "b"
        loop.update(labelled)
        await asyncio.sleep(1)
        assert len(seen) == told
        assert loop.task.annotations.labels["a"] == "b"
        loop.update(task(desired=api.SHUTDOWN))
        await asyncio.sleep(1)
        await loop.close()
    assert seen[-1][1] == "SHUTDOWN"


async def test_a_running_task_whose_host_went_down_has_failed() -> None:
    seen: list[tuple[float, str, str]] = []
    containers = FakeRuntime().containers
    made = task(state=api.RUNNING)
    await containers.create(container_config(made, NODE), id=container_id(made.id))  # this is all that is left of it
    async with asyncio.TaskGroup() as group:
        loop = loop_of(containers, group, seen, made)
        loop.start()
        await asyncio.sleep(1)
        await loop.close()
    assert seen[-1][1:] == ("FAILED", "task: non-zero exit (255): the container ended with its host")
    assert loop.status.container.exit_code == 255


@pytest.mark.parametrize("state", [api.STARTING, api.RUNNING, api.FAILED])
async def test_the_logs_of_a_task_that_outlived_its_daemon_are_not_waited_for(state: api.TaskState) -> None:
    remembered = task()
    remembered.status.state = state
    async with asyncio.TaskGroup() as group:
        assert loop_of(FakeContainers(FakeRuntime().images), group, [], remembered).starting.is_set()
        assert not loop_of(FakeContainers(FakeRuntime().images), group, [], task()).starting.is_set()


async def test_tasks_whose_volumes_do_not_answer_say_so_and_take_no_turn_from_others() -> None:
    """Four such starts of a service held every other start of their node."""
    containers = FakeContainers(FakeRuntime().images)
    seen: list[tuple[float, str, str]] = []
    others: list[tuple[float, str, str]] = []
    stuck = [task(f"t{number}") for number in range(3)]
    for each in stuck:
        containers.slow[container_config(each, NODE).name] = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        limits = Limits(1)
        loops = [loop_of(containers, group, seen, each, limits) for each in stuck]
        loops.append(loop_of(containers, group, others, task("other"), limits))
        for loop in loops:
            loop.start()
        await asyncio.sleep(1)
        assert others[-1] == (0.0, "RUNNING", "")
        await asyncio.sleep(9)
        words = f"waiting for the volume of {container_config(stuck[0], NODE).name}"
        assert (3.0, "PREPARING", words) in seen
        for event in containers.slow.values():
            event.set()
        await asyncio.sleep(1)
        assert [loop.status.state for loop in loops] == [api.RUNNING] * 4
        assert {loop.status.err for loop in loops} == {""}
        for loop in loops:
            await loop.close()
