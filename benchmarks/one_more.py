"""`script/bench one-more`: what one more replica costs the leader among 10,000 tasks on 1,000 nodes.

It measures the deciders and the store in memory, from the new number of replicas until nothing is left to decide, with
the reports of the new task's agent. CPU time, without disk and sockets; the median of several runs, and its parts.
"""

import gc
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from shoal.api import v1 as api
from shoal.daemon.serving import GC_THRESHOLDS
from shoal.manager.deciders import deciders_of_tasks
from shoal.manager.deciding.cascade import Cascade
from shoal.manager.deciding.plan import Decider, Plan
from shoal.store.changes import copy
from shoal.store.memory import Event, Memory, Transaction, View

NODES, TASKS = 1000, 10_000
GOAL_MS = 20.0
TIMES = 21
NOW = 1_700_000_000.0
Found = TypeVar("Found", api.Service, api.Task)
REPORTS = (api.ACCEPTED, api.PREPARING, api.READY, api.STARTING, api.RUNNING)


class Timed:
    """A decider that counts the CPU time it takes."""

    def __init__(self, decider: Decider, spent: Counter[str]) -> None:
        self.name = decider.name
        self.kinds = decider.kinds
        self._decider = decider
        self._spent = spent

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Decide as the decider does."""
        start = time.process_time_ns()
        plan = self._decider.decide(view, now, events)
        self._spent[self.name] += time.process_time_ns() - start
        return plan


class Leader:
    """Deciders over a store in memory, in which all tasks run."""

    def __init__(self, services: int) -> None:
        self.memory = Memory()
        self.spent: Counter[str] = Counter()
        deciders = deciders_of_tasks(Random(1))
        self.cascade = Cascade([Timed(each, self.spent) for each in deciders])
        self._fill(services)
        self.settle()

    def _fill(self, services: int) -> None:
        cluster = api.Cluster(id="cluster")
        cluster.spec.annotations.name = "default"
        cluster.spec.orchestration.task_history_retention_limit = 5
        self.memory.load(cluster)
        for number in range(NODES):
            node = api.Node(id=f"node{number:06}")
            node.description.hostname = f"name{number}"
            node.description.engine.SetInParent()
            node.description.resources.nano_cpus = 64_000_000_000
            node.description.resources.memory_bytes = 1 << 40
            node.spec.availability = api.NodeSpec.ACTIVE
            node.status.state = api.NodeStatus.READY
            self.memory.load(node)
        each = TASKS // services
        for number in range(services):
            service = api.Service(id=f"service{number:04}")
            service.spec.annotations.name = f"web{number}"
            service.spec.replicated.replicas = each
            service.spec.task.container.image = "image"
            service.spec.task.resources.reservations.nano_cpus = 100_000_000
            service.spec_version.index = 1
            self.memory.load(service)
            for slot in range(1, each + 1):
                self.memory.load(_running(service, slot, f"node{(number * each + slot) % NODES:06}"))

    def settle(self) -> None:
        """Let the deciders go on until none has anything to do."""
        while self.cascade.is_due(NOW):
            transaction = Transaction(self.memory, now_nanos=int(NOW * 1e9))
            self.cascade.run(transaction, NOW)
            self.cascade.tell(self.memory.commit(transaction))
            self.cascade.settle(NOW)

    def change(self, stage: Callable[[Transaction], object]) -> None:
        """Commit a change that comes from outside, and let the deciders answer it."""
        transaction = Transaction(self.memory, now_nanos=int(NOW * 1e9))
        stage(transaction)
        self.cascade.tell(self.memory.commit(transaction))
        self.settle()

    def scale_by_one(self, service_id: str) -> None:
        """Ask for one more replica, and send the reports of its agent until it runs."""
        service = copy(_there(self.memory.services.get(service_id)))
        service.spec.replicated.replicas += 1
        self.change(lambda transaction: transaction.update(service))
        slot = service.spec.replicated.replicas
        (task,) = self.memory.tasks.find("slot", (service_id, slot))
        for state in REPORTS:
            reported = copy(_there(self.memory.tasks.get(task.id)))
            reported.status.state = state
            self.change(lambda transaction, made=reported: transaction.update(made))  # type: ignore[misc]
        if _there(self.memory.tasks.get(task.id)).status.state != api.RUNNING:
            raise SystemExit("the new task does not run")


def _there(obj: Found | None) -> Found:
    if obj is None:
        raise SystemExit("an object is gone")
    return obj


def _running(service: api.Service, slot: int, node_id: str) -> api.Task:
    task = api.Task(
        id=f"{service.id}.{slot:06}", service_id=service.id, slot=slot, node_id=node_id, desired_state=api.RUNNING
    )
    task.spec.CopyFrom(service.spec.task)
    task.spec_version.CopyFrom(service.spec_version)
    task.status.state = api.RUNNING
    return task


def main() -> None:
    """Print a line for one large service, and one for many."""
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}")
    for services in (1, 100):
        leader = Leader(services)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        leader.spent.clear()
        taken = []
        for number in range(TIMES):
            start = time.process_time_ns()
            leader.scale_by_one(f"service{number % services:04}")
            taken.append((time.process_time_ns() - start) / 1e6)
        gc.unfreeze()
        middle = statistics.median(taken)
        parts = [(name, spent / TIMES / 1e6) for name, spent in leader.spent.most_common()]
        parts.append(("the store", statistics.mean(taken) - sum(spent for _, spent in parts)))
        print(
            f"{TASKS} tasks of {services} on {NODES} nodes, one more: {middle:.2f} ms, most {max(taken):.2f} ms"
            f" (goal {GOAL_MS:.0f} ms: {'reached' if max(taken) < GOAL_MS else 'not reached'})"
        )
        print("  " + ", ".join(f"{name} {spent:.2f} ms" for name, spent in parts))


if __name__ == "__main__":
    main()
