from shoal.api import v1 as api
from shoal.manager.allocator.networks import Networks
from shoal.manager.allocator.nodes import Nodes
from shoal.manager.allocator.tasks import Tasks, admitted, explained
from shoal.manager.allocator.waiting import Lacking, address
from shoal.manager.allocator.waiting import network as key_of
from tests.unit.manager.allocator.objects import network, task
from tests.unit.manager.builders import NOW


class Case:
    def __init__(self) -> None:
        self.networks = Networks()
        self.objects = {}
        for asked in (network("blue", "10.1.0.0/29"), network("red"), network("host", driver="host")):
            made = self.networks.allocate(asked)
            assert isinstance(made, api.Network)
            self.objects[made.id] = made
        self.nodes = Nodes(self.networks)
        self.tasks = Tasks(self.networks, self.nodes)

    def admit(self, asked: api.Task, endpoint: api.Endpoint | None = None) -> api.Task | Lacking:
        return self.tasks.admit(asked, asked.spec.networks, endpoint, self.objects.get, NOW)

    def free(self, name: str = "blue") -> int:
        overlay = self.networks.get(name)
        assert overlay is not None
        return overlay.free(32)


def test_a_task_gets_an_address_on_each_overlay() -> None:
    case = Case()
    asked = task("t1", None, "red", "host", "blue")
    asked.spec.networks[2].aliases.append("db")
    asked.spec.networks[2].driver_attachment_opts["a"] = "b"
    made = case.admit(asked)
    assert isinstance(made, api.Task)
    assert [(each.network.id, list(each.addresses)) for each in made.networks] == [
        ("red", ["10.0.0.2/24"]),
        ("host", []),
        ("blue", ["10.1.0.2/29"]),
    ]
    assert list(made.networks[2].aliases) == ["db"]
    assert dict(made.networks[2].driver_attachment_opts) == {"a": "b"}
    assert made.status.state == api.PENDING


def test_a_task_that_lacks_something_holds_nothing() -> None:
    case = Case()
    while not isinstance(case.networks.take("blue"), Lacking):
        pass
    before = case.free("red")
    lacking = case.admit(task("t1", None, "red", "blue"))
    assert lacking == Lacking("network blue has no free address", address("blue", 32))
    assert case.free("red") == before
    assert case.admit(task("t2", None, "gone")) == Lacking("network gone not found", key_of("gone"))
    assert isinstance(case.admit(task("t3", None, "red", "red")), Lacking)
    assert len(case.tasks) == 0


def test_a_virtual_ip_is_held_by_the_tasks_that_know_it() -> None:
    """A virtual IP that a service gave up goes to nobody else while a task of the service runs (known fault 43)."""
    case = Case()
    (vip,) = _taken(case.networks.take("blue"))
    endpoint = api.Endpoint(virtual_ips=[api.Endpoint.VirtualIP(network_id="blue", addr=vip)])
    made = case.admit(task("t1", None, "blue"), endpoint)
    assert isinstance(made, api.Task)
    assert made.endpoint == endpoint
    case.networks.release("blue", [vip])
    assert case.free() == 3
    case.tasks.drop("t1")
    case.tasks.drop("t1")
    assert case.free() == 5


def test_a_restored_task_keeps_what_it_has() -> None:
    first = Case()
    made = first.admit(task("t1", None, "blue"))
    assert isinstance(made, api.Task)
    case = Case()
    assert case.tasks.restore(made) == []
    case.tasks.restore_vips(made)
    assert case.free() == 4
    made.id = "t2"
    assert case.tasks.restore(made) == ["task t2: another has its address 10.1.0.2/29"]


def test_a_task_counts_where_it_is_until_it_has_ended() -> None:
    case = Case()
    case.nodes.allocate(api.Node(id="n1"), case.objects.get)
    made = case.admit(task("t1", None, "blue"))
    assert isinstance(made, api.Task)
    assert not case.tasks.note_node(made)
    made.node_id = "n1"
    made.status.state = api.ASSIGNED
    assert case.tasks.note_node(made)
    assert not case.tasks.note_node(made)
    case.nodes.allocate(api.Node(id="n1"), case.objects.get)
    assert case.tasks.drop("t1") == "n1"


def test_a_reason_is_written_once_and_goes_with_the_admission() -> None:
    told = explained(task("t1"), "network blue has no free address", NOW)
    assert told is not None
    assert told.status.state == api.NEW
    assert told.status.message == "pending network allocation"
    assert told.status.err == "network blue has no free address"
    assert explained(told, "network blue has no free address", NOW) is None
    after = admitted(told, NOW)
    assert (after.status.message, after.status.err) == ("pending task scheduling", "")


def _taken(found: list[str] | Lacking) -> list[str]:
    assert isinstance(found, list)
    return found
