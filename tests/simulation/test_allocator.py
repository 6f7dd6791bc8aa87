"""Random lives of networks, services, tasks and nodes, with a change of leader at any step.

After each step: nothing is given twice, the allocator remembers what a new one would read, and whoever waits would also
wait under a new leader. When everything is removed, nothing is held.
"""

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shoal.api import v1 as api
from shoal.api.predefined import needs_ingress
from shoal.api.states import is_dead
from shoal.manager.allocator.addresses import parse_address, parse_subnet
from shoal.manager.allocator.allocator import Allocator
from shoal.manager.allocator.endpoints import networks_of
from shoal.manager.allocator.networks import VNI_OPTION
from shoal.store.changes import Kind, Object, copy
from shoal.store.memory import Memory, View
from tests.unit.manager.builders import NOW, Bench

TINY = ("10.9.0.0/29", "10.9.0.8/29", "10.9.0.0/28", "10.0.1.0/24", "fd00::/125")

T = TypeVar("T", bound=Object)


def claims(view: View) -> Iterator[tuple[str, str]]:
    """Return everything that may exist only once, and its owner. A virtual IP belongs to its service, whoever else
    names it.
    """
    for network in view.networks.all():
        for text in network.driver_state.options.get(VNI_OPTION, "").split(","):
            if text:
                yield f"vni {text}", network.id
        for config in network.ipam.configs:
            if config.gateway:
                yield f"{network.id} {config.gateway}", "gateway"
    for service in view.services.all():
        for port in service.endpoint.ports:
            if port.publish_mode == api.PortConfig.INGRESS:
                yield f"port {port.protocol} {port.published_port}", service.id
        yield from _vips(service.endpoint, service.id, view)
    for task in view.tasks.all():
        if not is_dead(task):
            yield from _attached(task.networks, f"task {task.id}")
            yield from _vips(task.endpoint, task.service_id, view)
    for node in view.nodes.all():
        yield from _attached(node.attachments, f"node {node.id}")


def _attached(attachments: Iterable[api.NetworkAttachment], owner: str) -> Iterator[tuple[str, str]]:
    for attachment in attachments:
        for address in attachment.addresses:
            yield f"{attachment.network.id} {address.partition('/')[0]}", owner


def _vips(endpoint: api.Endpoint, service_id: str, view: View) -> Iterator[tuple[str, str]]:
    for vip in endpoint.virtual_ips:
        if view.networks.get(vip.network_id):
            yield f"{vip.network_id} {vip.addr.partition('/')[0]}", f"service {service_id}"


def wrong(view: View) -> Iterator[str]:
    """Return what is wrong in a swarm."""
    owners: dict[str, str] = {}
    for what, owner in claims(view):
        if owners.setdefault(what, owner) != owner:
            yield f"{what} is that of {owners[what]} and of {owner}"
    subnets = sorted(
        (subnet.bits, subnet.first, subnet.last, network.id)
        for network in view.networks.all()
        for config in network.ipam.configs
        if (subnet := parse_subnet(config.subnet))
    )
    for before, after in itertools.pairwise(subnets):
        if before[0] == after[0] and before[2] >= after[1]:
            yield f"the subnets of {before[3]} and {after[3]} overlap"
    for task in view.tasks.all():
        for attachment in task.networks:
            for address in attachment.addresses:
                number, bits = parse_address(address)
                configs = [parse_subnet(config.subnet) for config in attachment.network.ipam.configs]
                if not any(subnet.bits == bits and subnet.contains(number) for subnet in configs):
                    yield f"{task.id} has {address}, which its network has not"
        if task.status.state >= api.PENDING and task.desired_state <= api.RUNNING and not is_dead(task):
            for attachment in task.networks:
                if attachment.network.driver_state.name == "overlay" and not attachment.addresses:
                    yield f"{task.id} was admitted without an address"


def held(allocator: Allocator) -> dict[str, object]:
    """Return what an allocator believes to be in use."""
    networks = allocator.networks
    return {
        "addresses": {
            (network_id, pool.subnet.first): (pool.held, pool.free, dict(pool._holders))
            for network_id, overlay in networks._overlays.items()
            for pool in overlay.pools
        },
        "subnets": len(networks.subnets),
        "vnis": dict(networks.vnis._owners),
        "ports": {protocol: dict(numbers._owners) for protocol, numbers in allocator.endpoints._ports.items()},
        "tasks": len(allocator.tasks),
        "nodes": len(allocator.nodes),
    }


def gives(before: Memory, plan: tuple[object, ...]) -> list[object]:
    """Return the changes of a plan that give something, without those that only say why something waits."""
    found = []
    for change in plan:
        obj = change.obj  # type: ignore[attr-defined]
        if isinstance(obj, api.Task):
            old = before.tasks.get(obj.id)
            if old is not None and old.status.state == obj.status.state:
                continue
        found.append(obj)
    return found


class Life(RuleBasedStateMachine):
    """One swarm. The test plays everybody except the allocator."""

    def __init__(self) -> None:
        super().__init__()
        cluster = api.Cluster(id="cluster", defaultAddressPool=["10.0.0.0/21"], subnetSize=28)
        self.bench = Bench(Allocator(), [cluster])
        self.made = 0
        self.is_busy = False

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.put(api.Node(id=self.id("node")))
        for subnet in ("", *data.draw(st.lists(st.sampled_from(TINY), min_size=1, max_size=3))):
            self.create_network(subnet, 0, ingress=True)
        for _ in range(2):
            self.create_service(data)
            self.create_tasks(data, 5)
        self.rest()
        self.move_task(data, ["on"] * 4)

    # -- what happens -------------------------------------------------------------------------------------------------

    @rule(subnet=st.sampled_from(("", "", *TINY)), vni=st.sampled_from((0, 0, 4097, 9000)), ingress=st.booleans())
    def create_network(self, subnet: str, vni: int, ingress: bool) -> None:
        network = api.Network(id=self.id("net"))
        network.spec.annotations.name = network.id
        network.spec.ingress = ingress and not any(one.spec.ingress for one in self.view.networks.all())
        if subnet:
            network.spec.ipam.configs.add(subnet=subnet)
        if subnet.startswith("fd"):
            network.spec.ipam.configs.add()
        if vni:
            network.spec.driver_config.options[VNI_OPTION] = str(vni)
        self.put(network)

    @precondition(lambda self: bool(len(self.view.networks)))
    @rule(data=st.data())
    def remove_network(self, data: st.DataObject) -> None:
        network = self.draw(data, self.view.networks.all())
        # Control would refuse this.
        if any(network.id in [one.target for one in networks_of(s.spec)] for s in self.view.services.all()):
            return
        if any(not is_dead(t) and network.id in (*_on(t), *_named(t)) for t in self.view.tasks.all()):
            return
        if network.spec.ingress and any(needs_ingress(service.spec) for service in self.view.services.all()):
            return
        self.remove(network)

    @rule(data=st.data())
    def create_service(self, data: st.DataObject) -> None:
        service = api.Service(id=self.id("svc"))
        service.spec.annotations.name = service.id
        self.fill(data, service)
        self.put(service)

    @precondition(lambda self: bool(len(self.view.services)))
    @rule(data=st.data())
    def update_service(self, data: st.DataObject) -> None:
        service = copy(self.draw(data, self.view.services.all()))
        self.fill(data, service)
        self.put(service)

    @precondition(lambda self: bool(len(self.view.services)))
    @rule(data=st.data())
    def remove_service(self, data: st.DataObject) -> None:
        self.remove(self.draw(data, self.view.services.all()))

    @precondition(lambda self: bool(len(self.view.services)))
    @rule(data=st.data(), count=st.integers(1, 6))
    def create_tasks(self, data: st.DataObject, count: int) -> None:
        service = self.draw(data, self.view.services.all())
        for _ in range(count):
            task = api.Task(
                id=self.id("task"), service_id=service.id, desired_state=api.RUNNING, spec=service.spec.task
            )
            task.endpoint.spec.CopyFrom(service.spec.endpoint)
            task.status.state = api.NEW
            self.put(task)

    @precondition(lambda self: bool(len(self.view.networks) and len(self.view.nodes)))
    @rule(data=st.data(), last=st.integers(0, 4))
    def attach(self, data: st.DataObject, last: int) -> None:
        network = self.draw(data, self.view.networks.all())
        task = api.Task(id=self.id("attachment"), desired_state=api.RUNNING)
        task.node_id = self.draw(data, self.view.nodes.all()).id
        config = task.spec.networks.add(target=network.id)
        if last:
            config.addresses.append(f"10.9.0.{last}")
        self.put(task)

    @precondition(lambda self: any(not is_dead(task) for task in self.view.tasks.all()))
    @rule(data=st.data(), moves=st.lists(st.sampled_from(("on", "on", "end", "stop")), min_size=1, max_size=8))
    def move_task(self, data: st.DataObject, moves: list[str]) -> None:
        for move in moves:
            live = [task for task in self.view.tasks.all() if not is_dead(task)]
            if not live:
                return
            task = copy(self.draw(data, live))
            nodes = list(self.view.nodes.all())
            if move == "stop":
                task.desired_state = api.SHUTDOWN
            elif task.status.state == api.NEW:
                continue
            elif move == "on" and task.status.state == api.PENDING and nodes:
                task.node_id = task.node_id or self.draw(data, nodes).id
                task.status.state = api.ASSIGNED
            elif move == "end":
                task.status.state = api.FAILED
            self.put(task)

    @precondition(lambda self: bool(len(self.view.tasks)))
    @rule(data=st.data())
    def remove_task(self, data: st.DataObject) -> None:
        self.remove(self.draw(data, self.view.tasks.all()))

    @rule()
    def add_node(self) -> None:
        self.put(api.Node(id=self.id("node")))

    @precondition(lambda self: bool(len(self.view.nodes)))
    @rule(data=st.data())
    def remove_node(self, data: st.DataObject) -> None:
        node = self.draw(data, self.view.nodes.all())
        for task in self.view.tasks.find("node_id", node.id):
            if not is_dead(task):
                orphan = copy(task)
                orphan.status.state = api.ORPHANED
                self.put(orphan)
        self.remove(node)

    @rule()
    def change_leader(self) -> None:
        self.bench.decider, self.bench.events = Allocator(), None

    @rule()
    def lose_a_commit(self) -> None:
        self.bench.decider.decide(self.view, NOW, self.bench.events)
        self.bench.events = None

    @rule()
    def be_busy(self) -> None:
        """Change how much happens between two passes of the allocator."""
        self.is_busy = not self.is_busy

    # -- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_there_twice(self) -> None:
        if not self.is_busy:
            self.bench.step()
        assert list(wrong(self.view)) == []

    @rule()
    def come_to_rest(self) -> None:
        self.rest()
        fresh = Allocator()
        plan = fresh.decide(self.view, NOW, None)
        assert gives(self.bench.memory, plan.changes) == []
        assert held(fresh) == held(self.allocator)

    def teardown(self) -> None:
        self.come_to_rest()
        kinds: tuple[Kind, ...] = (api.Service, api.Task, api.Node, api.Network)
        for kind in kinds:
            for obj in list(self.view.table(kind).all()):
                self.remove(obj)
            self.rest()
        assert held(self.allocator) == held(Allocator()) | {"addresses": {}}
        assert len(self.allocator.waiting) == 0

    # -- tools --------------------------------------------------------------------------------------------------------

    @property
    def view(self) -> Memory:
        return self.bench.memory

    @property
    def allocator(self) -> Allocator:
        assert isinstance(self.bench.decider, Allocator)
        return self.bench.decider

    def rest(self) -> None:
        for _ in range(50):
            if not self.bench.step() and self.bench.look_again_at is None and not self.bench.events:
                return
        raise AssertionError("the allocator never comes to rest")

    def id(self, kind: str) -> str:
        self.made += 1
        return f"{kind}{self.made:04}"

    def put(self, obj: Object) -> None:
        self.bench.change(obj)

    def remove(self, obj: Object) -> None:
        self.bench.apply(lambda tx: tx.remove(type(obj), obj.id))

    def draw(self, data: st.DataObject, objects: Iterable[T]) -> T:
        return data.draw(st.sampled_from(sorted(objects, key=lambda obj: obj.id)))

    def fill(self, data: st.DataObject, service: api.Service) -> None:
        """Give a service another spec that Control would accept."""
        spec = service.spec
        spec.task.force_update += 1
        networks = sorted(network.id for network in self.view.networks.all() if not network.spec.ingress)
        has_ingress = any(network.spec.ingress for network in self.view.networks.all())
        del spec.task.networks[:]
        for name in (
            data.draw(st.lists(st.sampled_from(networks), min_size=1, max_size=2, unique=True)) if networks else ()
        ):
            spec.task.networks.add(target=name)
        spec.ClearField("endpoint")
        if data.draw(st.booleans()):
            spec.endpoint.mode = api.EndpointSpec.DNSRR
        elif has_ingress:
            numbers = data.draw(st.lists(st.sampled_from((0, 0, 80, 81, 30001)), max_size=2))
            for target, number in enumerate(numbers):
                spec.endpoint.ports.add(
                    target_port=target + 1, published_port=number if numbers.count(number) == 1 else 0
                )


def _on(task: api.Task) -> list[str]:
    return [attachment.network.id for attachment in task.networks]


def _named(task: api.Task) -> list[str]:
    return [config.target for config in task.spec.networks]


TestLife = Life.TestCase
# A failure is reported as it was found, because making it smaller takes longer than a test may.
TestLife.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


def test_a_thousand_networks_of_fixed_and_other_subnets_never_overlap() -> None:
    """Known fault 42."""
    rng = random.Random(42)
    bench = Bench(Allocator(), [api.Cluster(id="cluster", defaultAddressPool=["10.0.0.0/16"], subnetSize=26)])
    seen: Counter[str] = Counter()
    for number in range(1000):
        network = api.Network(id=f"net{number:04}")
        network.spec.annotations.name = network.id
        if rng.random() < 0.4:
            prefix = rng.randrange(22, 29)
            base = (10 << 24 | rng.randrange(1 << 16)) >> (32 - prefix) << (32 - prefix)
            network.spec.ipam.configs.add(subnet=f"10.0.{base >> 8 & 255}.{base & 255}/{prefix}")
        bench.change(network)
        if rng.random() < 0.3:
            gone = rng.choice(list(bench.memory.networks.all()))
            bench.apply(lambda tx, gone=gone: tx.remove(api.Network, gone.id))  # type: ignore[misc]
        if rng.random() < 0.02:
            bench.decider, bench.events = Allocator(), None
        bench.step()
        if number % 50 == 0:
            assert list(wrong(bench.memory)) == []
        seen["given"] += bool(getattr(bench.memory.networks.get(network.id), "ipam", api.IPAMOptions()).configs)
    while bench.step():
        pass
    assert list(wrong(bench.memory)) == []
    assert 500 < seen["given"] < 1000, "some had to wait and most were given something"
    fresh = Allocator()
    assert fresh.decide(bench.memory, NOW, None).changes == ()
