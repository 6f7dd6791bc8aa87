"""The decider that gives tasks their nodes: PENDING -> ASSIGNED, or the reason why not.

In: the view, the time, what changed. Out: a plan. Tasks of one service and spec version are placed as one group. One
that found no node is tried again when something was freed or a node changed. Source: SwarmKit manager/scheduler.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

from shoal.api import v1 as api
from shoal.api.times import instant, timestamp
from shoal.manager.deciding.draft import Draft
from shoal.manager.deciding.plan import Plan
from shoal.manager.scheduler.filters import Pipeline
from shoal.manager.scheduler.nodes import FAILURE_WINDOW, Group, NodeInfo, NodeSet
from shoal.manager.scheduler.ranking import rank
from shoal.store.changes import copy
from shoal.store.memory import Event, View

GroupKey = tuple[str, int, bytes]  # service id, spec version; a task without the latter: what else matters


class Scheduler:
    """Places tasks. Remembers who is where and who waits, as the view showed it."""

    name = "scheduler"
    kinds: tuple[type, ...] = (api.Task, api.Node)

    def __init__(self) -> None:
        self._nodes = NodeSet()
        self._waiting: dict[GroupKey, dict[str, None]] = {}
        self._key_of: dict[str, GroupKey] = {}
        self._preassigned: dict[str, None] = {}
        self._unwanted: dict[str, None] = {}  # told to stop before they had a node
        self._to_try: dict[GroupKey, None] = {}
        self._try_all = False
        self._cleaned_at = 0.0

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return the assignments that can be made now, and what to tell of the tasks that cannot be placed."""
        if events is None:
            self._read_everything(view, now)
        else:
            self._read(view, events, now)
        if now - self._cleaned_at > FAILURE_WINDOW:
            self._nodes.forget_old(now)
            self._cleaned_at = now
        draft = Draft(view, now)
        self._end_unwanted(draft)
        if self._try_all:
            self._to_try.update(dict.fromkeys(self._waiting))
            self._try_all = False
            for task_id in self._preassigned:
                self._confirm(draft, task_id)
        for key in list(self._to_try):
            if draft.is_full:
                break
            self._place_group(draft, key)
        return Plan(draft.changes(), look_again_at=now if self._to_try or self._unwanted else None)

    def _read_everything(self, view: View, now: float) -> None:
        self._nodes = NodeSet()
        self._waiting.clear()
        self._key_of.clear()
        self._preassigned.clear()
        self._unwanted.clear()
        self._to_try.clear()
        self._try_all = True
        for node in view.nodes.all():
            self._nodes.put_node(node)
        for task in view.tasks.all():
            self._take_in(task)
            if task.status.state in (api.FAILED, api.REJECTED) and task.slot and task.node_id:
                at = instant(task.status.timestamp)
                if now - at <= FAILURE_WINDOW:
                    self._nodes.note_failure(_group(task), task.node_id, task.id, at)

    def _read(self, view: View, events: Iterable[Event], now: float) -> None:
        tasks: dict[str, api.Task] = {}
        for event in events:
            obj = event.obj
            if isinstance(obj, api.Task):
                tasks[obj.id] = obj
            elif isinstance(obj, api.Node):
                node = view.nodes.get(obj.id)
                if node is None:
                    self._nodes.drop_node(obj.id)
                else:
                    self._nodes.put_node(node)
                    self._try_all = True
        for task_id, last in tasks.items():
            self._forget_waiting(task_id)
            task = view.tasks.get(task_id)
            if task is not None and api.PENDING <= task.status.state <= api.RUNNING:
                self._take_in(task)
                continue
            node_id = self._nodes.release(task_id)
            if node_id:
                self._try_all = True
                # A task of a global service is bound to its node, however often it fails there.
                if last.slot and task is not None and task.status.state in (api.FAILED, api.REJECTED):
                    self._nodes.note_failure(_group(task), node_id, task_id, now)

    def _take_in(self, task: api.Task) -> None:
        state, desired = task.status.state, task.desired_state
        if api.ASSIGNED <= state <= api.RUNNING:
            # A limit of replicas per node counts those meant to run.
            self._try_all |= self._nodes.hold(task)
        elif state == api.PENDING and desired <= api.COMPLETE:
            if task.node_id:
                self._preassigned[task.id] = None
                self._try_all = True
            else:
                key = _group_key(task)
                self._key_of[task.id] = key
                self._waiting.setdefault(key, {})[task.id] = None
                self._to_try[key] = None
        elif state == api.PENDING and desired == api.SHUTDOWN:
            self._unwanted[task.id] = None

    def _forget_waiting(self, task_id: str) -> None:
        self._preassigned.pop(task_id, None)
        self._unwanted.pop(task_id, None)
        key = self._key_of.pop(task_id, None)
        if key is not None:
            group = self._waiting[key]
            del group[task_id]
            if not group:
                del self._waiting[key]
                self._to_try.pop(key, None)

    def _end_unwanted(self, draft: Draft) -> None:
        """End tasks that no agent will ever hear of."""
        for task_id in list(self._unwanted):
            if draft.is_full:
                return
            task = draft.view.tasks.get(task_id)
            del self._unwanted[task_id]
            if task is not None and task.status.state == api.PENDING:
                _set_status(draft, copy(task), api.SHUTDOWN, "shutdown")

    def _confirm(self, draft: Draft, task_id: str) -> None:
        """Check a task that came with its node."""
        task = draft.view.tasks.get(task_id)
        info = self._nodes.infos.get(task.node_id) if task is not None else None
        if task is None or info is None:
            return
        pipeline = Pipeline(task, self._nodes.counts(task.service_id))
        if pipeline.passes(info):
            self._assign(draft, task, info, "scheduler confirmed task can run on preassigned node")
        else:
            _explain(draft, task, pipeline.explain())

    def _place_group(self, draft: Draft, key: GroupKey) -> None:
        """Place as many tasks of a group as there is room for, in the swarm and in the plan."""
        # One by one, as a plan has room for few of a large group.
        waiting = (draft.view.tasks.get(task_id) for task_id in self._waiting.get(key, ()))
        tasks = (task for task in waiting if task is not None)
        sample = next(tasks, None)
        if sample is None:
            self._to_try.pop(key, None)
            return
        bad = self._nodes.bad_nodes(_group(sample), draft.now)
        pipeline = Pipeline(sample, self._nodes.counts(sample.service_id))
        ranking = rank(self._nodes, sample.service_id, bad, sample.spec.placement.preferences)
        reason: str | None = None
        for task in chain((sample,), tasks):
            if draft.touches(task.id):
                continue
            if draft.is_full:
                return
            if reason is None:
                taken = ranking.take(pipeline.passes)
                if taken is not None:
                    info, pool = taken
                    self._assign(draft, task, info, "scheduler assigned task to node")
                    pool.put_back(info)
                    continue
                details = pipeline.explain()
                reason = f"no suitable node ({details})" if details else "no suitable node"
            _explain(draft, task, reason)
        self._to_try.pop(key, None)

    def _assign(self, draft: Draft, task: api.Task, info: NodeInfo, message: str) -> None:
        changed = copy(task)
        changed.node_id = info.node.id
        if task.spec.HasField("resources"):
            del changed.assigned_generic_resources[:]
            changed.assigned_generic_resources.extend(info.generic.pick(task.spec.resources.reservations.generic))
        _set_status(draft, changed, api.ASSIGNED, message)
        self._nodes.hold(changed)


def _group(task: api.Task) -> Group:
    return task.service_id, task.spec_version.index


def _group_key(task: api.Task) -> GroupKey:
    if task.HasField("spec_version"):
        return task.service_id, task.spec_version.index, b""
    # One-off tasks that ask for the same may share the work.
    rest = api.Task(spec=task.spec, networks=task.networks, endpoint=task.endpoint)
    return task.service_id, 0, rest.SerializeToString(deterministic=True)


def _set_status(draft: Draft, changed: api.Task, state: api.TaskState, message: str) -> None:
    changed.status.Clear()
    changed.status.state = state
    changed.status.timestamp.CopyFrom(timestamp(draft.now))
    changed.status.message = message
    draft.update(changed)


def _explain(draft: Draft, task: api.Task, reason: str) -> None:
    """Say why a task waits; a reason that stands there already is not written again."""
    if task.status.err != reason:
        changed = copy(task)
        changed.status.err = reason
        changed.status.timestamp.CopyFrom(timestamp(draft.now))
        draft.update(changed)
