"""Networks, services, nodes and tasks are given what they need, and tasks are admitted."""

from shoal.api import v1 as api
from shoal.api.predefined import LABEL
from shoal.manager.allocator.allocator import Allocator
from shoal.manager.deciding.plan import MAX_CHANGES
from shoal.store.changes import Object, copy
from tests.unit.manager.allocator.objects import network, service
from tests.unit.manager.allocator.objects import task as alloc_task
from tests.unit.manager.builders import NOW, Bench, task


def test_new_tasks_become_pending() -> None:
    bench = Bench(Allocator(), [task("web.1", api.NEW), task("web.2", api.RUNNING), task("web.3", api.NEW, api.REMOVE)])
    assert bench.step() == ["update web.1 pending -> running"]
    found = bench.memory.tasks.get("web.1")
    assert found is not None
    assert found.status.message == "pending task scheduling"
    assert bench.step() == []
    bench.change(task("web.4", api.NEW))
    assert bench.step() == ["update web.4 pending -> running"]


def test_what_is_too_much_for_a_plan_goes_into_the_next() -> None:
    bench = Bench(Allocator(), [task(f"web.{slot}", api.NEW) for slot in range(1, MAX_CHANGES + 2)])
    assert len(bench.step()) == MAX_CHANGES
    assert bench.look_again_at == NOW
    assert bench.step() == [f"update web.{MAX_CHANGES + 1} pending -> running"]
    assert bench.look_again_at is None


def test_a_port_that_the_host_chooses_leaves_the_leader_at_rest() -> None:
    """known-faults 34: without a number, each look found one to give."""
    web = service("web", ports="host:0:80 host:8080:81")
    bench = Bench(Allocator(), [web, alloc_task("web.1", web)])
    bench.step()
    assert bench.step() == []
    found = bench.memory.services.get("web")
    assert found is not None
    assert [port.published_port for port in found.endpoint.ports] == [0, 8080]
    told = bench.memory.tasks.get("web.1")
    assert told is not None
    assert [port.published_port for port in told.endpoint.ports] == [0, 8080]


def test_a_task_carries_the_networks_that_its_spec_names() -> None:
    host = api.Network(id="n1", spec=api.NetworkSpec(annotations=api.Annotations(name="host", labels={LABEL: "true"})))
    attached, lost = task("web.1", api.NEW), task("web.2", api.NEW)
    attached.spec.networks.add(target="n1", aliases=["www"])
    lost.spec.networks.add(target="n2")
    bench = Bench(Allocator(), [host, attached, lost])
    assert bench.step() == ["update n1", "update web.1 pending -> running", "update web.2 new -> running"]
    found = bench.memory.tasks.get("web.1")
    assert found is not None
    (attachment,) = found.networks
    assert attachment.network.spec.annotations.name == "host"
    assert list(attachment.aliases) == ["www"]


class Swarm(Bench):
    """A swarm with ingress, one node and these objects, after the allocator has run."""

    def __init__(self, *objects: Object, ingress: str = "") -> None:
        subnets = [ingress] if ingress else []
        super().__init__(Allocator(), [network("ingress", *subnets, ingress=True), api.Node(id="n1"), *objects])
        self.rest()

    def rest(self) -> None:
        while self.step() or self.look_again_at is not None:
            pass

    def put(self, *objects: Object) -> None:
        for obj in objects:
            self.change(obj)
        self.rest()

    def update(self, wanted: api.Service) -> None:
        """Give a service another spec, as Control does."""
        changed = copy(wanted)
        changed.endpoint.CopyFrom(self.endpoint(wanted.id))
        self.put(changed)

    def drop(self, kind: type, object_id: str) -> None:
        self.apply(lambda tx: tx.remove(kind, object_id))
        self.rest()

    def new_leader(self) -> None:
        self.decider, self.events = Allocator(), None
        self.rest()

    def task(self, name: str) -> api.Task:
        found = self.memory.tasks.get(name)
        assert found is not None
        return found

    def addresses(self, name: str) -> dict[str, list[str]]:
        return {each.network.id: list(each.addresses) for each in self.task(name).networks}

    def endpoint(self, name: str) -> api.Endpoint:
        found = self.memory.services.get(name)
        assert found is not None
        return found.endpoint

    def state(self, name: str) -> tuple[str, str]:
        return api.TaskState.Name(self.task(name).status.state), self.task(name).status.err


def test_ingress_comes_first_and_every_node_is_on_it() -> None:
    swarm = Swarm(network("blue"))
    ingress, node = swarm.memory.networks.get("ingress"), swarm.memory.nodes.get("n1")
    assert ingress is not None
    assert node is not None
    assert ingress.ipam.configs[0].subnet == "10.0.0.0/24"
    assert node.attachments[0].network == ingress or node.attachments[0].network.id == "ingress"
    assert list(node.attachment.addresses) == ["10.0.0.2/24"]


def test_a_service_on_an_overlay_with_a_published_port() -> None:
    web = service("web", "blue", ports="8080:80")
    swarm = Swarm(network("blue"), web, alloc_task("t1", web))
    endpoint = swarm.endpoint("web")
    assert [(vip.network_id, vip.addr) for vip in endpoint.virtual_ips] == [
        ("ingress", "10.0.0.2/24"),
        ("blue", "10.0.1.2/24"),
    ]
    assert swarm.addresses("t1") == {"ingress": ["10.0.0.4/24"], "blue": ["10.0.1.3/24"]}
    assert swarm.task("t1").endpoint == endpoint
    assert swarm.state("t1") == ("PENDING", "")


def test_a_service_that_asks_for_nothing_is_not_written() -> None:
    web = service("web")
    swarm = Swarm(web, alloc_task("t1", web))
    found = swarm.memory.services.get("web")
    assert found is not None
    assert not found.HasField("endpoint")
    assert swarm.state("t1") == ("PENDING", "")


def test_a_node_is_on_an_overlay_while_it_has_a_task_there() -> None:
    swarm = Swarm(network("blue"), alloc_task("t1", None, "blue"))
    placed = copy(swarm.task("t1"))
    placed.node_id, placed.status.state = "n1", api.ASSIGNED
    swarm.put(placed)
    assert _attached(swarm) == {"ingress": ["10.0.0.2/24"], "blue": ["10.0.1.3/24"]}
    swarm.report("t1", api.FAILED)
    swarm.rest()
    assert _attached(swarm) == {"ingress": ["10.0.0.2/24"]}


def test_an_exhausted_network_is_told_on_the_task_and_helps_as_many_as_it_can() -> None:
    """Known fault 44."""
    tasks = [alloc_task(f"t{number}", None, "tiny") for number in range(6)]
    swarm = Swarm(network("tiny", "10.9.0.0/29"), *tasks)
    waits = [each.id for each in tasks if swarm.state(each.id) == ("NEW", "network tiny has no free address")]
    assert waits == ["t5"]
    assert swarm.task("t5").status.message == "pending network allocation"
    swarm.report("t0", api.PENDING)
    ended = copy(swarm.task("t0"))
    ended.status.state = api.SHUTDOWN
    swarm.put(ended)
    assert swarm.addresses("t5") == {"tiny": ["10.9.0.2/29"]}
    assert swarm.state("t5") == ("PENDING", "")


def test_a_small_ingress_serves_a_thousand_times_its_size() -> None:
    """Known fault 44."""
    swarm = Swarm(network("blue", "10.9.0.0/28"))
    for number in range(300):
        web = service(f"web{number}", "blue", ports="0:80")
        swarm.put(web, *(alloc_task(f"{web.id}.{slot}", web) for slot in range(4)))
        assert all(swarm.state(f"{web.id}.{slot}") == ("PENDING", "") for slot in range(4))
        swarm.drop(api.Service, web.id)
        for slot in range(4):
            swarm.drop(api.Task, f"{web.id}.{slot}")
    allocator = swarm.decider
    assert isinstance(allocator, Allocator)
    overlay = allocator.networks.get("blue")
    assert overlay is not None
    assert overlay.free(32) == 13
    assert allocator.endpoints.ports == 0


def test_a_task_that_needs_less_since_its_service_changed_or_went_is_looked_at_again() -> None:
    """Known fault 44: it waited for an address of ingress, which it no longer needed, until another leader came."""
    web, other = service("web", "blue", ports="80:80"), service("other", "blue", ports="81:80")
    # Two virtual IPs, a gateway and a node leave two addresses on ingress.
    swarm = Swarm(network("blue"), web, other, ingress="10.9.0.0/29")
    swarm.put(*(alloc_task(f"old{number}", web) for number in range(2)))
    swarm.put(alloc_task("t1", web), alloc_task("t2", other))
    reason = "network ingress has no free address"
    assert [swarm.state("t1"), swarm.state("t2")] == [("NEW", reason)] * 2
    swarm.drop(api.Service, "web")
    assert (swarm.state("t1"), list(swarm.addresses("t1"))) == (("PENDING", ""), ["blue"])
    assert swarm.state("t2") == ("NEW", reason), "the tasks of the service still have its virtual IP"
    swarm.update(service("other", "blue"))
    assert (swarm.state("t2"), list(swarm.addresses("t2"))) == (("PENDING", ""), ["blue"])


def test_a_task_whose_service_left_a_full_network_no_longer_waits_for_it() -> None:
    """As above, with networks that stand beside the task's template, as older clients write them."""
    web = service("web")
    web.spec.networks.add(target="tiny")
    swarm = Swarm(network("tiny", "10.9.0.0/29"), web, *(alloc_task(f"t{number}", web) for number in range(5)))
    assert swarm.state("t4") == ("NEW", "network tiny has no free address")
    swarm.update(service("web"))
    assert swarm.state("t4") == ("PENDING", "")


def test_an_overlapping_network_waits_for_the_other_to_go() -> None:
    web = service("web", "blue")
    swarm = Swarm(network("red", "10.9.0.0/24"))
    swarm.put(network("blue", "10.9.0.0/16"), web, alloc_task("t1", web))
    reason = "network blue: 10.9.0.0/16 overlaps with 10.9.0.0/24 of network red"
    assert swarm.state("t1") == ("NEW", reason)
    swarm.drop(api.Network, "red")
    assert swarm.addresses("t1") == {"blue": ["10.9.0.3/16"]}


def test_a_port_that_another_service_has_is_waited_for() -> None:
    web, api_ = service("web", ports="80:80"), service("api", ports="80:80")
    swarm = Swarm(web)
    swarm.put(api_, alloc_task("t1", api_))
    assert swarm.state("t1") == ("NEW", "port 80/tcp is in use by service web")
    swarm.drop(api.Service, "web")
    assert swarm.state("t1") == ("PENDING", "")


def test_without_ingress_a_service_that_publishes_waits_for_one() -> None:
    web = service("web", ports="80:80")
    swarm = Swarm()
    swarm.drop(api.Network, "ingress")
    swarm.put(web, alloc_task("t1", web))
    assert swarm.state("t1") == ("NEW", "there is no ingress network")
    assert _attached(swarm) == {}
    swarm.put(network("mine", "10.7.0.0/24", ingress=True))
    assert swarm.addresses("t1") == {"mine": ["10.7.0.4/24"]}
    assert _attached(swarm) == {"mine": ["10.7.0.3/24"]} or _attached(swarm) == {"mine": ["10.7.0.2/24"]}


def test_virtual_ips_stay_over_ten_changes_of_leader() -> None:
    """Known faults 39 and 40: recorded claims go first, whatever the spec left out."""
    web = service("web", "blue")
    swarm = Swarm(network("blue", "10.9.0.0/28"), web, alloc_task("t1", web))
    before = copy(swarm.endpoint("web"))
    for number in range(10):
        swarm.apply(lambda tx, number=number: tx.create(alloc_task(f"new{number}", web)))  # type: ignore[misc]
        swarm.new_leader()
        assert swarm.endpoint("web") == before
    given = [address for each in swarm.memory.tasks.all() for address in swarm.addresses(each.id)["blue"]]
    given.append(before.virtual_ips[0].addr)
    assert len(set(given)) == len(given) == 12


def test_a_change_to_dnsrr_and_back() -> None:
    web = service("web", "blue")
    swarm = Swarm(network("blue"), web)
    swarm.update(service("web", "blue", mode="DNSRR"))
    assert swarm.endpoint("web") == api.Endpoint(spec=api.EndpointSpec(mode=api.EndpointSpec.DNSRR))
    swarm.update(service("web", "blue"))
    assert [vip.addr for vip in swarm.endpoint("web").virtual_ips] == ["10.0.1.3/24"]


def test_a_task_that_is_only_to_end_needs_nothing() -> None:
    tasks = [alloc_task(f"t{number}", None, "tiny") for number in range(2)]
    tasks[1].desired_state = api.SHUTDOWN
    swarm = Swarm(network("tiny", "10.9.0.0/31"), *tasks)
    assert swarm.state("t1") == ("PENDING", "")


def test_the_swarms_own_pools_are_used() -> None:
    cluster = api.Cluster(id="c", defaultAddressPool=["10.20.0.0/23"], subnetSize=24)
    swarm = Swarm(cluster, network("blue"), network("red"), alloc_task("t1", None, "red"))
    assert swarm.state("t1") == ("NEW", "network red: the default address pools are exhausted")
    swarm.drop(api.Network, "blue")
    assert swarm.addresses("t1") == {"red": ["10.20.1.2/24"]}


def _attached(swarm: Swarm) -> dict[str, list[str]]:
    node = swarm.memory.nodes.get("n1")
    assert node is not None
    return {each.network.id: list(each.addresses) for each in node.attachments}
