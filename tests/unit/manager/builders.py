"""Objects of a swarm in one line each, for tests of deciders."""

from collections.abc import Callable, Iterable

from shoal.api import v1 as api
from shoal.api.times import timestamp
from shoal.manager.deciding.plan import Decider, Plan
from shoal.manager.orchestrator.marks import Marks, write
from shoal.store.changes import Create, Event, Object, Remove, Update
from shoal.store.memory import Memory, Transaction

NOW = 1000.0


def cluster(limit: int = 5) -> api.Cluster:
    made = api.Cluster(id="cluster")
    made.spec.annotations.name = "default"
    made.spec.orchestration.task_history_retention_limit = limit
    return made


def service(
    name: str = "web", replicas: int = 1, version: int = 1, change: Callable[[api.Service], None] | None = None
) -> api.Service:
    made = api.Service(id=name)
    made.spec.annotations.name = name
    made.spec.replicated.replicas = replicas
    made.spec.task.container.image = "image"
    made.spec_version.index = version
    if change:
        change(made)
    return made


def everywhere(made: api.Service) -> None:
    """Make a service global."""
    getattr(made.spec, "global").SetInParent()


def job(total: int, at_a_time: int, iteration: int = 0) -> Callable[[api.Service], None]:
    """Make a service a replicated job."""

    def change(made: api.Service) -> None:
        made.spec.replicated_job.total_completions = total
        made.spec.replicated_job.max_concurrent = at_a_time
        made.job_status.job_iteration.index = iteration

    return change


def global_job(made: api.Service, iteration: int = 0) -> None:
    """Make a service a global job."""
    made.spec.global_job.SetInParent()
    made.job_status.job_iteration.index = iteration


def node(
    name: str, state: api.NodeStatus.State = api.NodeStatus.READY, *, labels: dict[str, str] | None = None
) -> api.Node:
    made = api.Node(id=name)
    made.description.hostname = name
    made.status.state = state
    made.spec.annotations.labels.update(labels or {})
    return made


def task(
    name: str,
    state: api.TaskState = api.RUNNING,
    desired: api.TaskState = api.RUNNING,
    *,
    node: str = "",
    version: int = 1,
    created_at: float = NOW - 100,
    reported_at: float = NOW,
    marks: Marks | None = None,
    of: api.Service | None = None,
) -> api.Task:
    """Return a task. `name` is `<service>.<slot>`, with or without `.<something>`. All of it is the task's id."""
    service_id, slot = name.split(".")[:2]
    made = api.Task(id=name, service_id=service_id, slot=int(slot), node_id=node, desired_state=desired)
    made.spec.container.image = "image"
    if of is not None:
        made.spec.CopyFrom(of.spec.task)
        if of.HasField("job_status"):
            made.job_iteration.CopyFrom(of.job_status.job_iteration)
    made.status.state = state
    made.status.timestamp.CopyFrom(timestamp(reported_at))
    made.spec_version.index = version
    made.meta.created_at.CopyFrom(timestamp(created_at))
    if marks:
        write(made, marks)
    return made


def decide(decider: Decider, objects: Iterable[Object], now: float = NOW) -> Plan:
    """Return the plan of a decider that knows nothing yet."""
    return decider.decide(Memory.of(objects), now, None)


def told(plan: Plan) -> list[str]:
    """Return a plan in words, one line for each change: `update web.1 running -> shutdown`."""
    return [_line(change) for change in plan.changes]


def _line(change: Create | Update | Remove) -> str:
    match change:
        case Remove(_, id):
            return f"remove {id}"
        case Create(obj) | Update(obj):
            word = type(change).__name__.lower()
            if isinstance(obj, api.Task):
                state, desired = api.TaskState.Name(obj.status.state), api.TaskState.Name(obj.desired_state)
                place = f" on {obj.node_id}" if obj.node_id else ""
                name = f"{obj.service_id}.{obj.slot}" if word == "create" else obj.id
                return f"{word} {name}{place} {state.lower()} -> {desired.lower()}"
            if isinstance(obj, api.Service):
                return f"{word} {obj.id} {obj.update_status.message}"
            return f"{word} {obj.id}"


class Ids:
    """Ids in order: new1, new2, ..."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        self._last += 1
        return f"new{self._last}"


def _adopt(transaction: Transaction, plan: Plan) -> None:
    """Stage a plan as the cascade does: the store keeps the very objects of its updates."""
    for change in plan.changes:
        if isinstance(change, Update):
            transaction.adopt(change.obj)
        else:
            transaction.apply((change,))


class Bench:
    """One decider over a store in memory. Its plans are applied, and it is told all changes."""

    def __init__(self, decider: Decider, objects: Iterable[Object]) -> None:
        self.decider = decider
        self.memory = Memory.of(objects)
        self.events: list[Event] | None = None
        self.now = NOW
        self.look_again_at: float | None = None

    def step(self, now: float | None = None) -> list[str]:
        """Let it decide once, and apply its plan."""
        self.now = self.now if now is None else now
        plan = self.decider.decide(self.memory, self.now, self.events)
        self.events = []
        self.look_again_at = plan.look_again_at
        lines = told(plan)
        self.apply(lambda tx: _adopt(tx, plan))
        return lines

    def apply(self, fn: Callable[[Transaction], object]) -> None:
        # Objects of a transaction have the time at which it began, a little before the decider was called.
        tx = Transaction(self.memory, now_nanos=round(self.now * 1e9) - 1_000_000)
        fn(tx)
        events = self.memory.commit(tx)
        if self.events is not None:
            self.events += events

    def change(self, obj: Object) -> None:
        """Store an object, as somebody else would."""
        old = self.memory.table(type(obj)).get(obj.id)
        if old is None:
            self.apply(lambda tx: tx.create(obj))
        else:
            obj.meta.version.CopyFrom(old.meta.version)
            self.apply(lambda tx: tx.update(obj))

    def report(self, task_id: str, state: api.TaskState) -> None:
        """Report a task's state, as an agent does."""
        found = self.memory.tasks.get(task_id)
        assert found is not None
        changed = api.Task()
        changed.CopyFrom(found)
        changed.status.state = state
        changed.status.timestamp.CopyFrom(timestamp(self.now))
        self.change(changed)
