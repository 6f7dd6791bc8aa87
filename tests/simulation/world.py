"""A swarm in virtual time: real deciders over a real store in memory, well-behaved agents, and faults from one seed.

There is one heap of events, ordered by (time, sequence). Everything random comes from the seed, so that a failure can
be repeated. The laws of `laws.py` are checked after each commit.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import TypeVar

from shoal.api import v1 as api
from shoal.api.states import NAMES, is_dead
from shoal.api.times import duration, timestamp
from shoal.manager.deciders import deciders_of_tasks
from shoal.manager.deciding.cascade import Cascade
from shoal.manager.orchestrator.places import is_job
from shoal.manager.scheduler.demand import host_ports
from shoal.store.changes import Event, copy
from shoal.store.memory import Memory, Transaction
from tests.simulation.laws import amiss, broken, given

CHAIN = (api.ASSIGNED, api.ACCEPTED, api.PREPARING, api.READY, api.STARTING, api.RUNNING)
MAX_PASSES = 200


class World:
    def __init__(self, seed: int, nodes: int = 3, *, commit_loss: float = 0.0) -> None:
        self.rng = random.Random(seed)  # how long what takes, and which commits are lost
        self.choose = self.rng  # what users and hosts do; a test may choose that in another way
        self.now = 1_000_000.0
        self.memory = Memory()
        self.commit_loss = commit_loss
        self.counts: Counter[str] = Counter()  # counts of what happened, because a test must show that faults happened
        self.dark: set[str] = set()  # nodes whose agent does nothing
        self.transcript: list[str] = []
        self.watches: list[Callable[[], None]] = []  # further laws for one story, called after each commit
        self._sequence = count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._stepping: set[str] = set()
        self._ids = count(1)
        self.become_leader()
        self.write(lambda tx: tx.create(api.Cluster(id="cluster", spec=_cluster_spec())))
        for number in range(nodes):
            self.add_node(f"node{number}")

    # -- time ---------------------------------------------------------------------------------------------------------

    def at(self, delay: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + delay, next(self._sequence), act))

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        end = self.now + seconds
        self.pump()
        while True:
            look = self.cascade.next_look()
            happening = self._heap[0][0] if self._heap else end + 1
            then = min(happening, end + 1 if look is None else max(look, self.now))
            if then > end:
                self.now = end
                return
            self.now = then
            if happening <= then:
                heapq.heappop(self._heap)[2]()
            self.pump()

    def run_until(self, condition: Callable[[], bool], seconds: float) -> None:
        end = self.now + seconds
        self.pump()
        while not condition():
            assert self.now < end, self.explain(f"not within {seconds} s")
            self.run(0.05)

    # -- store --------------------------------------------------------------------------------------------------------

    def write(self, fn: Callable[[Transaction], object]) -> None:
        tx = Transaction(self.memory, now_nanos=round(self.now * 1e9))
        fn(tx)
        self.commit(tx)

    def commit(self, tx: Transaction) -> None:
        events = self.memory.commit(tx)
        for event in events:
            if isinstance(event.obj, api.Task):
                self._count_given(event)
                self.transcript.append(f"{self.now:.3f} {event.action} {_task_line(event.obj)}")
            elif isinstance(event.obj, api.Node):
                self.transcript.append(f"{self.now:.3f} {event.action} {_node_line(event.obj)}")
            self._wake_agent(event)
        self.cascade.tell(events)
        for problem in broken(self.memory, events):
            raise AssertionError(self.explain(problem))
        for watch in self.watches:
            watch()

    def _count_given(self, event: Event) -> None:
        """Count what tasks are given with their node."""
        new, old = event.obj, event.old
        assert isinstance(new, api.Task)
        if isinstance(old, api.Task) and (old.status.state, new.status.state) == (api.PENDING, api.ASSIGNED):
            values, counts = given([new])
            self.counts.update(f"{kind} given" for kind in ({kind for kind, _ in values} | counts.keys()))
            self.counts["host port given"] += bool(host_ports(new))

    def pump(self) -> None:
        for _ in range(MAX_PASSES):
            if not self.cascade.is_due(self.now):
                return
            tx = Transaction(self.memory, now_nanos=round(self.now * 1e9))
            self.cascade.run(tx, self.now)
            if tx.is_empty():
                continue
            if self.rng.random() < self.commit_loss:
                self.counts["commit lost"] += 1
                self.cascade.forget()
                continue
            self.counts["commits"] += 1
            self.commit(tx)
        raise AssertionError(self.explain("the deciders never come to rest"))

    def become_leader(self) -> None:
        """Start again with deciders that remember nothing."""
        self.counts["leaders"] += 1
        rng = random.Random(self.rng.random())
        self.cascade = Cascade(deciders_of_tasks(rng, lambda: f"task{next(self._ids):05}"))

    # -- what users and hosts do --------------------------------------------------------------------------------------

    def add_node(self, node_id: str, change: Callable[[api.Node], None] | None = None) -> None:
        node = api.Node(id=node_id)
        node.description.hostname = node_id
        node.description.resources.nano_cpus = 10**12
        node.description.resources.memory_bytes = 10**12
        node.status.state = api.NodeStatus.READY
        if change:
            change(node)
        self.write(lambda tx: tx.create(node))

    def set_node(self, node_id: str, change: Callable[[api.Node], None]) -> None:
        node = copy(_found(self.memory.nodes.get(node_id)))
        change(node)
        self.write(lambda tx: tx.update(node))

    def node_down(self, node_id: str) -> None:
        self.counts["node down"] += 1
        self.dark.add(node_id)
        self.set_node(node_id, lambda node: _set_state(node, api.NodeStatus.DOWN))

    def remove_node(self, node_id: str) -> None:
        """Remove a node, as Control does: the node is removed, and its tasks are orphaned."""

        def remove(tx: Transaction) -> None:
            for task in self.memory.tasks.find("node_id", node_id):
                if task.status.state < api.COMPLETE:
                    orphan = copy(task)
                    orphan.status.state = api.ORPHANED
                    orphan.status.timestamp.CopyFrom(timestamp(self.now))
                    tx.update(orphan)
            tx.remove(api.Node, node_id)

        self.counts["node removed"] += 1
        self.dark.discard(node_id)
        self.write(remove)

    def node_up(self, node_id: str) -> None:
        self.dark.discard(node_id)
        self.set_node(node_id, lambda node: _set_state(node, api.NodeStatus.READY))
        for task in self.memory.tasks.find("node_id", node_id):
            self._schedule_step(task.id)

    def create_service(self, name: str, replicas: int, change: Callable[[api.ServiceSpec], None] | None = None) -> None:
        service = api.Service(id=name)
        service.spec.annotations.name = name
        service.spec.replicated.replicas = replicas  # another mode takes its place
        service.spec.task.container.image = "image:1"
        service.spec.task.restart.delay.CopyFrom(duration(0.0))
        service.spec.task.restart.condition = api.RestartPolicy.ANY
        if change:
            change(service.spec)
        service.spec_version.index = self.memory.revision + 1
        if is_job(service):
            service.job_status.SetInParent()
        self.write(lambda tx: tx.create(service))

    def update_service(self, name: str, change: Callable[[api.ServiceSpec], None]) -> None:
        """Update a service, as Control does: the spec changes, the old one is kept, and the status of an earlier update
        is removed.
        """
        service = copy(self.service(name))
        service.previous_spec.CopyFrom(service.spec)
        service.previous_spec_version.CopyFrom(service.spec_version)
        change(service.spec)
        service.spec_version.index = self.memory.revision + 1
        service.ClearField("update_status")
        if is_job(service):
            service.job_status.job_iteration.index += 1
        self.write(lambda tx: tx.update(service))

    def roll_back(self, name: str) -> None:
        """Roll a service back, as Control does: the two specs change places."""
        current = self.service(name)
        if not current.HasField("previous_spec"):
            return
        service = copy(current)
        service.spec.CopyFrom(current.previous_spec)
        service.spec_version.CopyFrom(current.previous_spec_version)
        service.previous_spec.CopyFrom(current.spec)
        service.previous_spec_version.CopyFrom(current.spec_version)
        service.update_status.Clear()
        service.update_status.state = api.UpdateStatus.ROLLBACK_STARTED
        service.update_status.started_at.CopyFrom(timestamp(self.now))
        if is_job(service):
            service.job_status.job_iteration.index += 1
        self.counts["rolled back"] += 1
        self.write(lambda tx: tx.update(service))

    def remove_service(self, name: str) -> None:
        self.write(lambda tx: tx.remove(api.Service, name))

    def fail_task(self, task_id: str, state: api.TaskState = api.FAILED) -> None:
        self.counts["task failed"] += 1
        self._report(task_id, state)

    # -- what is asked ------------------------------------------------------------------------------------------------

    def service(self, name: str) -> api.Service:
        return _found(self.memory.services.get(name))

    def tasks(self, name: str, state: api.TaskState | None = None) -> list[api.Task]:
        tasks = sorted(self.memory.tasks.find("service_id", name), key=lambda task: (task.slot, task.id))
        return [task for task in tasks if state is None or task.status.state == state]

    def running(self, name: str) -> list[api.Task]:
        return [task for task in self.tasks(name, api.RUNNING) if task.desired_state == api.RUNNING]

    def is_converged(self, name: str) -> bool:
        """Return whether every place has what the service asks for, on a suitable node, and nothing else is alive."""
        return not any(amiss(self.memory, self.service(name)))

    def explain(self, problem: str) -> str:
        lines = [problem, *self.transcript[-60:]]
        for service in self.memory.services.all():
            lines.append(f"{service.id} v{service.spec_version.index} {service.spec.WhichOneof('mode')}")
            lines.append(f"  update: {service.update_status} placement: {service.spec.task.placement}")
            lines += [f"  amiss: {problem}" for problem in amiss(self.memory, service)]
            lines += [_task_line(task) for task in self.tasks(service.id)]
        return "\n".join(lines)

    # -- agents -------------------------------------------------------------------------------------------------------

    def _wake_agent(self, event: Event) -> None:
        if isinstance(event.obj, api.Task) and event.action != "remove" and event.obj.status.state >= api.ASSIGNED:
            self._schedule_step(event.obj.id)

    def _schedule_step(self, task_id: str) -> None:
        if task_id not in self._stepping:
            self._stepping.add(task_id)
            task = self.memory.tasks.get(task_id)
            works = task is not None and (task.status.state, task.desired_state) == (api.RUNNING, api.COMPLETE)
            self.at(self.rng.uniform(0.005, 2.0 if works else 0.05), lambda: self._step(task_id))

    def _step(self, task_id: str) -> None:
        self._stepping.discard(task_id)
        task = self.memory.tasks.get(task_id)
        if task is None or task.node_id in self.dark or is_dead(task):
            return
        state = task.status.state
        if task.desired_state > api.COMPLETE:
            self._report(task_id, api.SHUTDOWN)
        elif state == api.RUNNING and task.desired_state == api.COMPLETE:
            self._report(task_id, api.COMPLETE)
        elif state < (api.READY if task.desired_state == api.READY else api.RUNNING):
            image = task.spec.container.image
            if state == api.PREPARING and image == "image:nowhere":
                self._report(task_id, api.REJECTED)
            elif state == api.STARTING and image == "image:broken":
                self._report(task_id, api.FAILED)
            else:
                self._report(task_id, CHAIN[CHAIN.index(state) + 1])

    def _report(self, task_id: str, state: api.TaskState) -> None:
        task = copy(_found(self.memory.tasks.get(task_id)))
        task.status.state = state
        task.status.timestamp.CopyFrom(timestamp(self.now))
        task.status.applied_at.CopyFrom(timestamp(self.now))
        self.write(lambda tx: tx.update(task))


T = TypeVar("T")


def _found(obj: T | None) -> T:
    assert obj is not None
    return obj


def _set_state(node: api.Node, state: api.NodeStatus.State) -> None:
    node.status.state = state


def _cluster_spec() -> api.ClusterSpec:
    spec = api.ClusterSpec()
    spec.annotations.name = "default"
    spec.orchestration.task_history_retention_limit = 5
    return spec


def _task_line(task: api.Task) -> str:
    return (
        f"  {task.id} {task.service_id}.{task.slot} v{task.spec_version.index} {task.node_id or '-'} "
        f"{NAMES[task.status.state]} -> {NAMES[task.desired_state]} {task.status.err}"
    )


def _node_line(node: api.Node) -> str:
    state = api.NodeStatus.State.Name(node.status.state)
    availability = api.NodeSpec.Availability.Name(node.spec.availability)
    return f"  {node.id} {state} {availability} {dict(sorted(node.spec.annotations.labels.items()))}"
