"""`script/bench scheduler`: how long the scheduler takes to place tasks, beside SwarmKit's own benchmark.

SwarmKit's figures are those of its `BenchmarkScheduler*` on a quiet machine with two cores. There each task is a group
of its own. Here this is measured, then each task in a service of its own, and then all tasks in one service. Both sides
include the transaction in memory, and no disk. Times are wall time; the CPU time beside them shows how much of it other
programs had. The ratio is that of CPU time.
"""

import gc
import os
import sys
import time
from collections.abc import Callable
from random import Random

from shoal.api import v1 as api
from shoal.daemon.serving import GC_THRESHOLDS
from shoal.manager.deciding.cascade import Cascade
from shoal.manager.scheduler.scheduler import Scheduler
from shoal.store.memory import Memory, Transaction

# (nodes, tasks, network constraint): seconds, SwarmKit, Go, 2 cores
SWARMKIT = {
    (1000, 1000, False): 0.17,
    (1000, 10_000, False): 1.59,
    (1000, 1000, True): 0.21,
    (1000, 10_000, True): 2.17,
    (100_000, 1000, False): 32.5,
    (1000, 100_000, False): 24.3,
}
LARGE = 50_000  # a case with this many tasks or more is only measured with `--all`

KINDS: dict[str, Callable[[api.Task], None]] = {}


def _of_a_service(task: api.Task, service_id: str) -> None:
    task.service_id = service_id
    task.spec_version.index = 1


KINDS["alone"] = lambda task: None
KINDS["a service each"] = lambda task: _of_a_service(task, f"service of {task.id}")
KINDS["one service"] = lambda task: _of_a_service(task, "service")


def swarm(nodes: int, tasks: int, constrained: bool, kind: str) -> Memory:
    """Return a swarm with pending tasks."""
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
        KINDS[kind](task)
        if constrained:
            task.networks.add().network.driver_state.name = "network"
        memory.load(task)
    return memory


def measure(nodes: int, tasks: int, constrained: bool, kind: str) -> tuple[float, float]:
    """Return the seconds of wall and of CPU time until all tasks have a node."""
    memory = swarm(nodes, tasks, constrained, kind)
    cascade = Cascade([Scheduler(Random(1))])
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    wall, cpu = time.perf_counter(), time.process_time()
    while cascade.is_due(0.0):
        transaction = Transaction(memory)
        cascade.run(transaction, 0.0)
        events = memory.commit(transaction)
        cascade.settle(0.0)
        cascade.tell(events)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    placed = sum(1 for task in memory.tasks.all() if task.status.state == api.ASSIGNED)
    gc.unfreeze()
    if placed != tasks:
        sys.exit(f"only {placed} of {tasks} tasks were placed")
    return wall, cpu


def main() -> None:
    """Print a line for each case and kind."""
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}")
    print(f"{'nodes':>7} {'tasks':>8}  {'network':7}  {'tasks are':14}  {'SwarmKit':>9} {'Shoal':>9} {'CPU':>9}  ratio")
    for (nodes, tasks, constrained), theirs in SWARMKIT.items():
        if tasks > LARGE and "--all" not in sys.argv:
            continue
        which = "a third" if constrained else "any"
        for kind in KINDS:
            wall, cpu = measure(nodes, tasks, constrained, kind)
            print(
                f"{nodes:7} {tasks:8}  {which:7}  {kind:14}  {theirs:7.2f} s {wall:7.2f} s {cpu:7.2f} s"
                f" {theirs / cpu:5.1f}x",
                flush=True,
            )
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
