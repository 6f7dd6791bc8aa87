"""The decider that gives tasks their nodes: PENDING -> ASSIGNED, or the reason why not.

In: the view, the time, what changed. Out: a plan. Tasks of one service and spec version are placed as one group, others
one by one. A task that came with its node (of a global service) is only checked. Tasks that found no node are tried
again when resources were freed or a node changed. Source: SwarmKit manager/scheduler/scheduler.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.api.gen import placement_pb2 as pb
from shoal.api.times import instant, timestamp
from shoal.errors import NotFound
from shoal.manager.deciding.draft import Draft
from shoal.manager.deciding.plan import Plan
from shoal.manager.scheduler.demand import ASKS_NOTHING, Demand, demand_of
from shoal.manager.scheduler.explain import explain
from shoal.manager.scheduler.failures import FAILURE_WINDOW, MAX_FAILURES, Failures, Group
from shoal.manager.scheduler.filters import Pipeline
from shoal.manager.scheduler.nodeinfo import NodeInfo, held_for, is_active
from shoal.manager.scheduler.nodeset import NodeSet
from shoal.manager.scheduler.queues import Queues
from shoal.manager.scheduler.ranking import Look, Ranking, descriptors_of
from shoal.manager.scheduler.waiting import Key
from shoal.store.changes import copy
from shoal.store.memory import Event, View

if TYPE_CHECKING:
    from random import Random

ASSIGNED = "scheduler assigned task to node"
CONFIRMED = "scheduler confirmed task can run on preassigned node"


class Scheduler:
    """Places tasks. Remembers the nodes, their tasks and the waiting tasks, as the view showed them."""

    name = "scheduler"
    kinds: tuple[type, ...] = (api.Task, api.Node)

    def __init__(self, rng: Random) -> None:
        """`rng` breaks ties between nodes."""
        self._rng = rng
        self._nodes = NodeSet(rng)
        self._queues = Queues(self._judge)
        self._failures = Failures()
        # The tasks as this scheduler gave them their nodes, each until it changes again. It need not read them when
        # they come back from the store.
        self._assigned: dict[str, api.Task] = {}
        self._notes: list[str] = []
        self._cleaned_at = 0.0
        self._has_read = False

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return the assignments that can be made now, and the reasons for tasks that cannot be placed."""
        self._notes = []
        if events is None:
            self._read_everything(view, now)
        else:
            self._read(view, events, now)
        if now - self._cleaned_at > FAILURE_WINDOW:
            self._failures.forget_old(now)
            self._nodes.forget_old()
            self._cleaned_at = now
        draft = Draft(view, now)
        self._end_unwanted(draft)
        # As in SwarmKit, tasks that came with their node go first.
        self._confirm_preassigned(draft)
        assigned = _status(ASSIGNED, now)
        for key in self._queues.groups_to_try(self._nodes.infos):
            if draft.is_full or not self._place_group(draft, key, assigned):
                self._queues.put_off(key)
                break
        return Plan(draft.changes(), tuple(self._notes), look_again_at=now if self._queues.have_work else None)

    def explain(self, view: View, task_id: str, now: float) -> pb.Explanation:
        """Return why a task is on its node, or has none, as the swarm is now. Raises NotFound."""
        task = view.tasks.get(task_id)
        if task is None:
            raise NotFound(f"task {task_id} not found")
        if not self._has_read:
            self._read_everything(view, now)
        is_bound = bool(task.node_id) and (task.status.state <= api.PENDING or _is_bound(view, task))
        return explain(task, self._nodes, self._failures, now, is_bound=is_bound)

    # -- what happened ------------------------------------------------------------------------------------------------

    def _read_everything(self, view: View, now: float) -> None:
        self._has_read = True
        self._nodes = NodeSet(self._rng, view.nodes.all())
        self._queues = Queues(self._judge)
        self._failures = Failures()
        self._assigned.clear()
        for task in view.tasks.all():
            state = task.status.state
            if state == api.PENDING:
                self._queues.put(task)
            elif api.PENDING < state <= api.RUNNING:
                self._nodes.hold(task)
            elif state in (api.FAILED, api.REJECTED) and task.node_id:
                at = instant(task.status.timestamp)
                if now - at <= FAILURE_WINDOW and not _is_bound(view, task):
                    self._failures.note(group_of(task), task.node_id, task.id, at)

    def _read(self, view: View, events: Iterable[Event], now: float) -> None:
        tasks: dict[str, None] = {}
        for event in events:
            obj = event.obj
            if isinstance(obj, api.Task):
                task_id = obj.id
                if self._assigned.get(task_id) is not obj or event.action == "remove":
                    tasks[task_id] = None
            elif isinstance(obj, api.Node):
                before, node = self._nodes.infos.get(obj.id), view.nodes.get(obj.id)
                if node is None:
                    self._nodes.drop_node(obj.id)
                    self._queues.node_changed(obj.id, before)
                elif self._nodes.put_node(node):
                    self._queues.node_changed(obj.id, before)
        for task_id in tasks:
            self._assigned.pop(task_id, None)
            task = view.tasks.get(task_id)
            if task is not None and api.PENDING <= (state := task.status.state) <= api.RUNNING:
                self._take_in(task_id, task, state)
                continue
            self._queues.forget(task_id)
            held = self._nodes.held(task_id)
            if held is not None:
                self._queues.gives_back(held, self._nodes.infos.get(held.node_id))
                self._nodes.release(task_id)
                if task is not None and task.status.state in (api.FAILED, api.REJECTED) and not _is_bound(view, task):
                    self._note_failure(group_of(task), held.node_id, task_id, now)

    def _take_in(self, task_id: str, task: api.Task, state: int) -> None:
        """Add a task that waits for a node, or that has a node and has not ended."""
        if state > api.PENDING:
            self._queues.forget(task_id)
            held = self._nodes.held(task_id)
            if held is not None and held.is_active and not is_active(task):
                # A limit of replicas per node counts those meant to run.
                self._queues.gives_back(held, self._nodes.infos.get(held.node_id))
            self._nodes.hold(task)
        else:
            self._queues.put(task)

    def _note_failure(self, group: Group, node_id: str, task_id: str, now: float) -> None:
        self._failures.note(group, node_id, task_id, now)
        if self._failures.count(group, node_id, now) == MAX_FAILURES:
            minutes = round(FAILURE_WINDOW / 60)
            self._notes.append(
                f"node {node_id} goes last for service {group.service_id}:"
                f" {MAX_FAILURES} of its tasks failed there within {minutes} minutes"
            )

    # -- what follows -------------------------------------------------------------------------------------------------

    def _end_unwanted(self, draft: Draft) -> None:
        """End tasks that were told to shut down before they had a node."""
        for task_id in self._queues.unwanted():
            if draft.is_full:
                return
            self._queues.forget(task_id)
            task = draft.view.tasks.get(task_id)
            if task is not None and task.status.state == api.PENDING:
                changed = copy(task)
                # The message stays as it was: SwarmKit scheduler.go, noSuitableNode.
                changed.status.state = api.SHUTDOWN
                changed.status.ClearField("err")
                changed.status.timestamp.CopyFrom(timestamp(draft.now))
                draft.update(changed)

    def _confirm_preassigned(self, draft: Draft) -> None:
        """Check tasks that came with their node."""
        demands: dict[Group, Demand] = {}
        confirmed = _status(CONFIRMED, draft.now)
        for task_id in self._queues.preassigned_to_try():
            if draft.is_full:
                return
            self._queues.tried_preassigned(task_id)
            task = draft.view.tasks.get(task_id)
            info = self._nodes.infos.get(task.node_id) if task is not None else None
            if task is None or info is None:
                continue  # As in SwarmKit, an unknown node gives no reason; when it comes, the task is tried again.
            group = group_of(task)
            # The tasks of one spec version have the same demand. Tasks without a service share nothing.
            demand = demands.get(group) if group.service_id else None
            if demand is None:
                demand = demands[group] = demand_of(task)
            pipeline = Pipeline(demand, self._nodes.counts(task.service_id))
            if pipeline.passes(info):
                self._assign(draft, task, info, demand, confirmed)
            else:
                _explain(draft, task, pipeline.explain((info,)))

    def _judge(self, service_id: str, demand: Demand, info: NodeInfo) -> str:
        return Pipeline(demand, self._nodes.counts(service_id)).first_failing(info)

    def _place_group(self, draft: Draft, key: Key, assigned: api.TaskStatus) -> bool:
        """Place as many tasks of a group as there is room for. Returns whether none is left to be looked at."""
        task_ids = self._queues.tasks_of(key)
        tasks = filter(None, map(draft.view.tasks.get, task_ids))
        sample = next(tasks, None)
        if sample is None:
            for task_id in task_ids:
                self._queues.forget(task_id)
            return True
        demand = demand_of(sample)
        counts = self._nodes.counts(key.service_id)
        pipeline = Pipeline(demand, counts)
        descriptors = descriptors_of(sample.spec.placement.preferences) if demand is not ASKS_NOTHING else ()
        bad = self._failures.bad_nodes(Group(key.service_id, key.spec_version), draft.now) if self._failures else {}
        shortlist = self._nodes.shortlist(demand.standing, descriptors)
        if len(task_ids) == 1 and not (counts or bad or descriptors):
            # Nodes differ only in their load, so the first one with room is the best, without a ranking.
            info = shortlist.first(pipeline.has_room)
            if info is not None:
                self._assign(draft, sample, info, demand, assigned)
                return True
        task: api.Task | None = sample
        with Ranking(shortlist, Look(self._nodes.infos, bad, counts, self._rng)) as ranking:
            while task is not None:
                if draft.is_full:
                    return False
                info = ranking.take(pipeline.has_room)
                if info is None:
                    break
                self._assign(draft, task, info, demand, assigned)
                ranking.put_back(info)
                task = next(tasks, None)
        self._queues.tried(key, demand)
        if task is None:
            return True
        details = pipeline.explain(self._nodes.infos.values())
        reason = f"no suitable node ({details})" if details else "no suitable node"
        while task is not None:
            if draft.is_full:
                return False
            _explain(draft, task, reason)
            task = next(tasks, None)
        return True

    def _assign(self, draft: Draft, task: api.Task, info: NodeInfo, demand: Demand, status: api.TaskStatus) -> None:
        task_id, node_id = task.id, info.id
        changed = copy(task)
        changed.node_id = node_id
        generic = info.generic.pick(demand.generic) if demand.generic else ()
        if generic or task.assigned_generic_resources:
            del changed.assigned_generic_resources[:]
            changed.assigned_generic_resources.extend(generic)
        changed.status.CopyFrom(status)
        draft.update(changed)
        # If the plan is not committed, the scheduler reads everything again.
        self._assigned[task_id] = changed
        self._queues.forget(task_id)
        self._nodes.take(task_id, held_for(demand, task.service_id, node_id, generic))


def group_of(task: api.Task) -> Group:
    """Return the group that a task's failures count for."""
    return Group(task.service_id, task.spec_version.index)


def _is_bound(view: View, task: api.Task) -> bool:
    """Return whether a task came with its node. The scheduler did not choose it, so failures there do not count."""
    service = view.services.get(task.service_id) if task.service_id else None
    return service is not None and (service.spec.HasField("global") or service.spec.HasField("global_job"))


def _status(message: str, now: float) -> api.TaskStatus:
    return api.TaskStatus(state=api.ASSIGNED, timestamp=timestamp(now), message=message)


def _explain(draft: Draft, task: api.Task, reason: str) -> None:
    """Write why a task waits, unless its status already says so."""
    if task.status.err != reason:
        changed = copy(task)
        changed.status.err = reason
        changed.status.timestamp.CopyFrom(timestamp(draft.now))
        draft.update(changed)
