"""How long the scheduler takes to place tasks, beside what SwarmKit's own benchmark took.

Run `python benchmarks/scheduler.py`. SwarmKit's figures are those of its `BenchmarkScheduler1kNodes*` on the machine
that Docker Swarm's other figures were measured on; there each task is a group of its own, so it is here. Both include
the transaction in memory, neither a disk.
"""

import sys
import time
from random import Random

from shoal.api import v1 as api
from shoal.manager.deciding.cascade import Cascade
from shoal.manager.scheduler.scheduler import Scheduler
from shoal.store.memory import Memory, Transaction

# (nodes, tasks, network constraint): seconds, SwarmKit, Go, 2 cores
SWARMKIT = {
    (1000, 1000, False): 0.17,
    (1000, 10_000, False): 1.59,
    (1000, 100_000, False): 24.3,
    (1000, 1000, True): 0.21,
    (1000, 10_000, True): 2.17,
}


def swarm(nodes: int, tasks: int, constrained: bool, services: bool) -> Memory:
    memory = Memory()
    for number in range(nodes):
        node = api.Node(id=f"node{number:06}")
        node.description.hostname = f"name{number}"
        node.description.engine.SetInParent()
        node.status.state = api.NodeStatus.READY
        if number % 3 == 0:
            node.description.engine.plugins.add(type="Network", name="network")
        memory.load(node)
    for number in range(tasks):
        task = api.Task(id=f"task{number:06}", desired_state=api.RUNNING)
        task.service_annotations.name = task.id
        task.status.state = api.PENDING
        if services:
            task.service_id = f"service{number:06}"
            task.spec_version.index = 1
        if constrained:
            task.networks.add().network.driver_state.name = "network"
        memory.load(task)
    return memory


def measure(nodes: int, tasks: int, constrained: bool, *, services: bool = False) -> float:
    memory = swarm(nodes, tasks, constrained, services)
    cascade = Cascade([Scheduler(Random(1))])
    start = time.perf_counter()
    while cascade.is_due(0.0):
        transaction = Transaction(memory)
        cascade.run(transaction, 0.0)
        cascade.tell(memory.commit(transaction))
    took = time.perf_counter() - start
    placed = sum(1 for task in memory.tasks.all() if task.status.state == api.ASSIGNED)
    if placed != tasks:
        sys.exit(f"only {placed} of {tasks} tasks were placed")
    return took


def main() -> None:
    print(f"{'nodes':>7} {'tasks':>8}  {'network':7}  {'SwarmKit':>9} {'Shoal':>9} {'ratio':>6} {'a service each':>15}")
    for (nodes, tasks, constrained), theirs in SWARMKIT.items():
        if tasks > 10_000 and "--all" not in sys.argv:
            continue
        ours = measure(nodes, tasks, constrained)
        each = measure(nodes, tasks, constrained, services=True)
        which = "a third" if constrained else "any"
        print(f"{nodes:7} {tasks:8}  {which:7}  {theirs:7.2f} s {ours:7.2f} s {theirs / ours:5.1f}x {each:13.2f} s")


if __name__ == "__main__":
    main()
