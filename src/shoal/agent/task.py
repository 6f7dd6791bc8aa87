"""One task on this node, from its assignment to its end: carries out the steps of `machine` one after the other.

In: assignments of the task; out: statuses, handed to `report`. A new assignment that needs a different operation
cancels the running one. All decisions are made in `machine`.
"""

import asyncio
import logging
from collections.abc import Callable

from shoal.agent.controller import Controller, NonZeroExit
from shoal.agent.machine import (
    RETRY_AFTER,
    Failure,
    Operation,
    Step,
    accepted,
    failed,
    merged,
    next_step,
    noted,
    succeeded,
    waiting,
)
from shoal.api import states
from shoal.api import v1 as api
from shoal.api.naming import task_name
from shoal.errors import ShoalError, Unavailable

log = logging.getLogger(__name__)

Report = Callable[[str, api.TaskStatus], None]


class TaskLoop:
    """A task and its status. Read `status`: `task.status` is not kept current."""

    def __init__(
        self,
        task: api.Task,
        *,
        make_controller: Callable[[api.Task], Controller],
        report: Report,
        group: asyncio.TaskGroup,
        clock: Callable[[], float],
    ) -> None:
        self.task = task
        self.status = task.status
        self.controller: Controller | None = None
        self.starting = asyncio.Event()  # set once the task's state is STARTING or higher
        if task.status.state >= api.STARTING:
            self.starting.set()  # an earlier run of the daemon started it, so no transition will set this
        self._make_controller = make_controller
        self._report = report
        self._group = group
        self._clock = clock
        self._changed = asyncio.Event()
        self._operation: asyncio.Task[Failure | None] | None = None
        self._doing = Operation.NOTHING
        self._note = ""
        self._run: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the TaskGroup of the constructor."""
        self._run = self._group.create_task(self.run(), name=f"task {self.task.id}")

    def update(self, task: api.Task) -> None:
        """Take a new assignment of the task."""
        changed = merged(self.task, task)
        if changed is None:
            return
        self.task = changed
        self._changed.set()
        # The running operation goes on when the new assignment would only start the same one again.
        step = next_step(self.status.state, changed.desired_state)
        if self._operation is not None and (step is None or step.operation is not self._doing):
            self._operation.cancel()

    def note(self, words: str) -> None:
        """Say this of the task as long as it runs; empty: nothing."""
        self._note = words
        if self.status.state == api.RUNNING:
            self._set(noted(self.status, words, self._clock()))

    async def close(self) -> None:
        """End this loop, and return when no operation on the container runs any more."""
        running = self._run
        if running is not None:
            running.cancel()
            await asyncio.wait({running})
        if self._operation is not None:
            self._operation.cancel()
            await asyncio.wait({self._operation})

    async def run(self) -> None:
        """Take the task step by step to its desired state, until cancelled. A defect ends only this loop."""
        try:
            await self._steps()
        except Exception:
            log.exception("task %s is no longer looked after; its container is left as it is", self.task.id)

    async def _steps(self) -> None:
        self._resolve()
        if self.controller is not None and self.status.state > api.RUNNING:
            await self._end_leftover(self.controller)
        while True:
            self._changed.clear()
            step = next_step(self.status.state, self.task.desired_state)
            if step is None or self.controller is None:
                await self._changed.wait()
            elif step.operation is Operation.NOTHING:
                facts = self.controller.facts() if step.state >= api.STARTING else None
                self._set(succeeded(self.status, step, facts, self._clock()))
            else:
                await self._operate(step, self.controller)

    async def _end_leftover(self, controller: Controller) -> None:
        """Stop a container that still runs although its task has ended.

        This happens when the container could not be stopped before, for instance because its record was damaged.
        Nobody else would look at it again.
        """
        facts = controller.facts()
        if facts is not None and facts.pid:
            log.warning("task %s has ended, and its container has not: it is stopped", task_name(self.task))
            await self._perform(Step(Operation.STOP, self.status.state, ""), controller)

    def _resolve(self) -> None:
        error = ""
        try:
            self.controller = self._make_controller(self.task)
            self.controller.say = self._waits
        except ShoalError as refused:
            error = str(refused)
            log.warning("task %s cannot be run here: %s", task_name(self.task), error)
        self._set(accepted(self.status, error, self._clock()))

    def _waits(self, words: str) -> None:
        self._set(waiting(self.status, words, self._clock()))

    async def _operate(self, step: Step, controller: Controller) -> None:
        self._doing = step.operation
        child = self._group.create_task(self._perform(step, controller), name=f"{step.operation.name} {self.task.id}")
        self._operation = child
        await asyncio.wait({child})
        self._operation = None
        if child.cancelled():
            return
        failure = child.result()
        facts = controller.facts()
        if failure is None:
            now = self._clock()
            self._set(noted(succeeded(self.status, step, facts, now), self._note, now))
            return
        self._set(failed(self.status, failure, facts, self._clock()))
        if failure.temporary:
            try:
                async with asyncio.timeout(RETRY_AFTER):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _perform(self, step: Step, controller: Controller) -> Failure | None:
        try:
            await controller.perform(step.operation)
        except NonZeroExit as ended:
            return Failure(str(ended), exit_code=ended.exit_code)
        except Unavailable as error:
            return Failure(str(error), temporary=True)
        except (ShoalError, OSError) as error:
            return Failure(str(error))
        except Exception as error:  # a defect in one task must not end the agent
            log.exception("task %s: %s failed", self.task.id, step.operation.name)
            return Failure(f"{type(error).__name__}: {error}")
        return None

    def _set(self, status: api.TaskStatus) -> None:
        if status == self.status:
            return
        if status.state != self.status.state:
            log.debug("task %s: %s", task_name(self.task), states.name_of(status.state))
        self.status = status
        if status.state >= api.STARTING:
            self.starting.set()
        self._report(self.task.id, status)
