"""The tasks of this node: takes assignments, runs the tasks, reports, records and removes them.

In: messages of assignments; out: containers, statuses to report, entries in the storage. This module does not know
sessions: tasks go on without a manager. Loops: `record` (wakes on changes; writes the storage), `follow_network` (wakes
on what the node's networks lack; says it of tasks), and one for each task.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from shoal.agent.controller import Controller, Limits, remove
from shoal.agent.executor import TASK_ID_LABEL, container_config, container_id, expand_spec, stop_grace_period
from shoal.agent.log_streams import LoggedTask
from shoal.agent.payloads import collect, files, has_files
from shoal.agent.pulls import Pulls
from shoal.agent.reporter import Report
from shoal.agent.reports import Reports
from shoal.agent.runtime import Runtime
from shoal.agent.storage import Entry, Forget, Put, PutStatus, Remembered, Storage, Unassign
from shoal.agent.task import TaskLoop
from shoal.agent.worker import Dependencies, changes
from shoal.api import v1 as api
from shoal.api.options import SERVICE
from shoal.errors import ShoalError
from shoal.network.wanted import Trouble
from shoal.runtime.types import ContainerConfig, LogLine, LogOptions, Phase, SecretFile

log = logging.getLogger(__name__)

RECORD_PAUSE = 0.05  # seconds between two writes to the storage; changes in between share the next write
DESCRIPTION_TTL = 1.0  # seconds; a hundred tasks assigned at once share one description of the host
WRITE_RETRY = 1.0  # seconds
REMOVE_RETRIES = (1.0, 5.0, 30.0)  # seconds; after the last one the next start of the agent tries again


class TaskSet:
    """All tasks of the node. Their loops run in `group`; its end ends the loops and no container."""

    def __init__(
        self,
        runtime: Runtime,
        storage: Storage,
        describe: Callable[[], api.NodeDescription],
        group: asyncio.TaskGroup,
        clock: Callable[[], float],
    ) -> None:
        self.dependencies = Dependencies()
        self._runtime = runtime
        self._storage = storage
        self._describe = describe
        self._described = api.NodeDescription()
        self._describe_at = 0.0
        self._group = group
        self._clock = clock
        self._pulls = Pulls(runtime.images, group)
        self._limits = Limits(len(os.sched_getaffinity(0)))
        self._tasks: dict[str, TaskLoop] = {}
        # By id, the tasks that are being removed; the value is the task if it was assigned again meanwhile.
        self._removing: dict[str, api.Task | None] = {}
        self._reports = Reports()
        self._entries: dict[tuple[type, str], Entry] = {}
        self._in_hand: list[Entry] = []  # those that `record` is writing
        self._to_record = asyncio.Event()
        self._listeners: set[Callable[[LoggedTask], None]] = set()
        self._notes: Mapping[str, str] = {}  # by container
        self._all_removed = asyncio.Event()
        self._swept = False
        self._closed = False

    def close(self) -> None:
        """Take nothing more. Call this before the TaskGroup ends: it does not cancel children that are added later."""
        self._closed = True

    def resume(self, remembered: Iterable[Remembered]) -> None:
        """Go on with the tasks of an earlier run, and finish the removals that it did not finish."""
        for each in remembered:
            if each.assigned:
                self._start(each.task)
            else:
                self._remove(each.task)

    def apply(self, message: api.AssignmentsMessage) -> None:
        """Take in assignments."""
        if self._closed:
            return
        self.dependencies.apply(message)
        wanted = changes(message, self._tasks.keys())
        for task in wanted.put:
            self._put(task)
        for task_id in wanted.remove:
            self._remove(self._tasks[task_id].task)
        if message.type == api.AssignmentsMessage.COMPLETE and not self._swept:
            self._swept = True
            self._group.create_task(self._sweep(), name="sweep-containers")

    async def look(self, network_id: str) -> dict[str, Any]:
        """Return what there is of a network on this node."""
        return await self._runtime.overlays.view(network_id)

    def assigned(self) -> list[api.Task]:
        """Return the tasks of this node."""
        return [loop.task for loop in self._tasks.values()]

    def report_all(self) -> None:
        """Report every task again: the manager of a new session may have missed the last reports."""
        for task_id, loop in self._tasks.items():
            self._report(task_id, loop.status)

    async def wait_reports(self) -> list[Report]:
        """Return the next statuses to report, once they are due."""
        return await self._reports.wait()

    def give_back_reports(self, reports: list[Report]) -> None:
        """Take back statuses that the manager did not receive."""
        self._reports.give_back(report for report in reports if report[0] in self._tasks)

    async def remove_all(self) -> None:
        """Remove every task with its container, because the node leaves the swarm. Return when that is done."""
        self._closed = True  # what the session that ends still hands over
        for loop in list(self._tasks.values()):
            self._remove(loop.task)
        while self._removing:
            self._all_removed.clear()
            await self._all_removed.wait()

    async def record(self, executor: ThreadPoolExecutor) -> None:
        """Write changes to the storage in batches, until cancelled. When the disk is full, wait and try again."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            await self._to_record.wait()
            self._to_record.clear()
            entries, self._entries = self._entries, {}
            self._in_hand = list(entries.values())
            try:
                await loop.run_in_executor(executor, self._storage.write, self._in_hand)
                self._in_hand = []
                failures = 0
                await asyncio.sleep(RECORD_PAUSE)
            except OSError as error:
                self._in_hand = []
                failures += 1
                if str(failures).strip("0") == "1":  # at 1, 10, 100, ...
                    log.error("the tasks of this node cannot be recorded (tried %s times): %s", failures, error)
                newer, self._entries = self._entries, entries
                for entry in newer.values():
                    self._note(entry)
                await asyncio.sleep(WRITE_RETRY)
                self._to_record.set()

    async def follow_network(self) -> None:
        """Say of tasks what their networks lack and they can run without, until cancelled."""
        troubles: Sequence[Trouble] = ()
        while True:
            troubles = await self._runtime.overlays.other_troubles(troubles)
            self._notes = self._runtime.overlays.said_of(troubles)
            for task_id, loop in self._tasks.items():
                loop.note(self._notes.get(container_id(task_id), ""))

    def unwritten(self) -> list[Entry]:
        """Return what `record` has not written, or may not have written: to write it twice does no harm."""
        return [*self._in_hand, *self._entries.values()]

    # The methods of LogSource.

    def logged_tasks(self) -> "list[LoggedTask]":
        """Return the present tasks of this node."""
        return [_Logged(loop, self._runtime) for loop in self._tasks.values()]

    @contextmanager
    def hear_new_tasks(self, hear: Callable[[LoggedTask], None]) -> Iterator[None]:
        """Call `hear` with each task that is assigned here while the context is open."""
        self._listeners.add(hear)
        try:
            yield
        finally:
            self._listeners.discard(hear)

    def read_logs(self, task: api.Task, options: LogOptions) -> AsyncIterator[LogLine]:
        """Yield lines of a task's container. Raises NotFound when there is none."""
        return self._runtime.containers.logs(container_id(task.id), options)

    def _put(self, task: api.Task) -> None:
        if task.id in self._removing:
            self._removing[task.id] = task
            return
        self._note(Put(task))
        known = self._tasks.get(task.id)
        if known is not None:
            known.update(task)
        else:
            self._start(task)

    def _start(self, task: api.Task) -> None:
        loop = TaskLoop(
            task, make_controller=self._controller, report=self._changed, group=self._group, clock=self._clock
        )
        self._tasks[task.id] = loop
        loop.note(self._notes.get(container_id(task.id), ""))
        loop.start()
        for hear in list(self._listeners):
            hear(_Logged(loop, self._runtime))

    def _remove(self, task: api.Task) -> None:
        loop = self._tasks.pop(task.id, None)
        self._reports.drop(task.id)
        self._removing[task.id] = None
        self._note(Unassign(task.id))
        self._group.create_task(self._finish_removal(task, loop), name=f"remove {task.id}")

    async def _finish_removal(self, task: api.Task, loop: TaskLoop | None) -> None:
        if loop is not None:
            await loop.close()
        if await self._removed(task):
            self._note(Forget(task.id))
        again = self._removing.pop(task.id)
        if again is not None and not self._closed:
            self._put(again)
        if not self._removing:
            self._all_removed.set()

    async def _removed(self, task: api.Task) -> bool:
        for delay in (*REMOVE_RETRIES, None):
            try:
                await remove(self._runtime.containers, task.id, stop_grace_period(task))
                return True
            except (ShoalError, OSError) as error:
                log.warning("the container of task %s cannot be removed: %s", task.id, error)
                if delay is not None:
                    await asyncio.sleep(delay)
        return False

    async def _sweep(self) -> None:
        # Remove the containers of unknown tasks: the record of such a task was lost, or the manager deleted the task
        # while this node was away. This waits for the manager's first complete list of assignments.
        for container in self._runtime.containers.list():
            task_id = container.config.labels.get(TASK_ID_LABEL)
            if task_id is None or container.id != container_id(task_id):
                continue
            if task_id in self._tasks or task_id in self._removing or container.phase is Phase.REMOVING:
                continue
            log.warning("removing the container %s: its task is no longer assigned here", container.config.name)
            await self._removed(api.Task(id=task_id))

    def _controller(self, task: api.Task) -> Controller:
        config = container_config(task, self._description())
        auth = task.spec.container.pull_options.registry_auth
        pull = SERVICE.read(task.service_annotations.labels).pull
        made = self._files_of(task) if has_files(task) else None
        shared = self._runtime.containers, self._pulls, self._limits, self._group
        return Controller(task.id, config, auth, pull, *shared, made)

    def _files_of(self, task: api.Task) -> Callable[[], Callable[[], Sequence[SecretFile]]]:
        node = self._description()
        spec = expand_spec(task, node)

        def taken_up() -> Callable[[], Sequence[SecretFile]]:
            given = collect(task, self.dependencies)
            return lambda: files(task, spec, node, given)

        return taken_up

    def _description(self) -> api.NodeDescription:
        now = asyncio.get_running_loop().time()
        if now >= self._describe_at:
            self._described, self._describe_at = self._describe(), now + DESCRIPTION_TTL
        return self._described

    def _changed(self, task_id: str, status: api.TaskStatus) -> None:
        self._note(PutStatus(task_id, status))
        self._report(task_id, status)

    def _report(self, task_id: str, status: api.TaskStatus) -> None:
        loop = self._tasks.get(task_id)
        passing = status.state < api.RUNNING and loop is not None and status.state < loop.task.desired_state
        self._reports.put(task_id, status, passing=passing)

    def _note(self, entry: Entry) -> None:
        task_id = entry.task.id if isinstance(entry, Put) else entry.task_id
        if isinstance(entry, Forget):
            for kind in (Put, PutStatus, Unassign):
                self._entries.pop((kind, task_id), None)
        self._entries.pop((type(entry), task_id), None)  # so that the new entry goes to the end
        self._entries[type(entry), task_id] = entry
        self._to_record.set()


class _Logged:
    """A task for the publisher of logs."""

    def __init__(self, loop: TaskLoop, runtime: Runtime) -> None:
        self.task = loop.task
        self._loop = loop
        self._runtime = runtime

    @property
    def config(self) -> ContainerConfig | None:
        return self._loop.controller.config if self._loop.controller is not None else None

    async def wait_container(self) -> None:
        await self._loop.starting.wait()
        async for container in self._runtime.containers.changes(container_id(self.task.id)):
            if container.phase is not Phase.CREATED:
                return
