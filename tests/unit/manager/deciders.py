"""Small deciders for tests of the loop that runs them. They record how they were called, and answer as a test wants."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shoal.api import v1 as api
from shoal.manager.deciding.plan import NOTHING, Plan
from shoal.store.changes import Create, Event, Kind, Update, copy
from shoal.store.memory import View

Heard = tuple[str, ...] | None


@dataclass
class Recorder:
    """A decider that answers with `answer`, and records the ids of the events that it gets."""

    name: str
    kinds: tuple[Kind, ...] = (api.Task,)
    answer: Callable[[View, float], Plan] = lambda view, now: NOTHING
    heard: list[Heard] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        self.heard.append(None if events is None else tuple(event.obj.id for event in events))
        self.at.append(now)
        return self.answer(view, now)


def make_tasks(view: View, now: float) -> Plan:
    """Answer as an orchestrator: a task for each replica, named after its slot."""
    return Plan(
        tuple(
            Create(api.Task(id=f"{service.id}.{slot}", service_id=service.id, slot=slot, desired_state=api.RUNNING))
            for service in view.services.all()
            for slot in range(1, service.spec.replicated.replicas + 1)
            if not view.tasks.find("slot", (service.id, slot))
        )
    )


def move(before: api.TaskState, after: api.TaskState) -> Callable[[View, float], Plan]:
    """Answer as the owner of a state: every task in it goes to the next state."""

    def answer(view: View, now: float) -> Plan:
        changes = []
        for task in view.tasks.all():
            if task.status.state == before:
                changed = copy(task)
                changed.status.state = after
                changes.append(Update(changed))
        return Plan(tuple(changes))

    return answer


def chain() -> list[Recorder]:
    """Return an orchestrator, an allocator and a scheduler."""
    return [
        Recorder("orchestrator", (api.Service, api.Task), make_tasks),
        Recorder("allocator", answer=move(api.NEW, api.PENDING)),
        Recorder("scheduler", answer=move(api.PENDING, api.ASSIGNED)),
    ]


def service(service_id: str, replicas: int) -> api.Service:
    """Return a replicated service whose name is its id."""
    return api.Service(
        id=service_id,
        spec=api.ServiceSpec(
            annotations=api.Annotations(name=service_id), replicated=api.ReplicatedService(replicas=replicas)
        ),
    )
