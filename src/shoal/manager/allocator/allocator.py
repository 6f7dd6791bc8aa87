"""The decider that gives networks, services, nodes and tasks what they need, and then admits tasks: NEW -> PENDING.

In: the view, the time, the changes. Out: a plan. If something is exhausted, the task says what it waits for, and is
tried again when that is freed. After a change of leader all recorded claims are restored before anything is given, so
that nothing is given twice. Source: SwarmKit manager/allocator/network.go.
"""

from collections.abc import Iterable, Iterator, Sequence

from shoal.api import v1 as api
from shoal.api.predefined import needs_ingress
from shoal.api.states import is_dead
from shoal.manager.allocator import waiting
from shoal.manager.allocator.addresses import V4, V6
from shoal.manager.allocator.endpoints import Endpoints, networks_of
from shoal.manager.allocator.networks import Networks, is_overlay
from shoal.manager.allocator.nodes import Nodes
from shoal.manager.allocator.tasks import Tasks, admitted, explained
from shoal.manager.allocator.waiting import Item, Key, Lacking, Waiting
from shoal.manager.deciding.draft import Draft
from shoal.manager.deciding.plan import Plan
from shoal.store.changes import Object
from shoal.store.memory import Event, View

NETWORK, SERVICE, NODE, TASK = "network", "service", "node", "task"

# Each freed thing with one of these keys helps one waiting item. If that item got it, the next one is tried.
_ONE_AT_A_TIME = frozenset({waiting.SUBNET, waiting.vni(0), *(waiting.port(protocol, 0) for protocol in range(3))})


class Allocator:
    """Gives out subnets, VXLAN ids, addresses and ports. Remembers what is taken, as in the view, and what waits."""

    name = "allocator"
    kinds: tuple[type, ...] = (api.Task, api.Service, api.Network, api.Node, api.Cluster)

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.networks = Networks()
        self.endpoints = Endpoints(self.networks)
        self.nodes = Nodes(self.networks)
        self.tasks = Tasks(self.networks, self.nodes)
        self.waiting = Waiting()
        self._waiting_nodes: dict[str, set[str]] = {}  # node id -> the networks on which it waits for an address
        self._pools: tuple[tuple[str, ...], int] | None = None
        # The ids of objects to look at, in the order in which they came. A kind comes after the kinds that it needs.
        self._todo: dict[str, dict[str, None]] = {NETWORK: {}, SERVICE: {}, NODE: {}, TASK: {}}
        self._notes: list[str] = []
        self._settled: dict[str, _Settled] = {}

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return the plan: what is given, and the reasons of the tasks that wait."""
        self._notes = []
        if events is None:
            self._read_everything(view)
        else:
            self._read(view, events)
        draft = Draft(view, now)
        while self._wake() and not draft.is_full:
            # Services before their tasks, because a task needs what its service has.
            if not self._work(draft):
                break
        self._settled = {}
        return Plan(draft.changes(), tuple(self._notes), look_again_at=now if self._has_work else None)

    # -- what happened ------------------------------------------------------------------------------------------------

    def _read_everything(self, view: View) -> None:
        self._forget()
        self._configure(view)
        live = [task for task in view.tasks.all() if not is_dead(task)]
        for network in sorted(view.networks.all(), key=lambda network: (not network.spec.ingress, network.id)):
            self._read_network(network)
            if network.HasField("driver_state") and is_overlay(network):
                self._notes += self.networks.restore(network)
        for service in view.services.all():
            if service.HasField("endpoint"):
                self._notes += self.endpoints.restore(service)
        for node in view.nodes.all():
            self._notes += self.nodes.restore(node)
            self._todo[NODE][node.id] = None
        for task in live:
            if task.networks:
                self._notes += self.tasks.restore(task)
        # Tasks that share an address with their service come last. Otherwise the service would look like a second
        # owner.
        for task in live:
            self.tasks.restore_vips(task)
            self._read_task(task)
        for service in view.services.all():
            self._read_service(view, service)
        self.networks.go_on()
        self.endpoints.go_on()
        self.networks.freed.clear()

    def _read(self, view: View, events: Sequence[Event]) -> None:
        self.networks.freed.update(dict.fromkeys(_other_needs(events)))
        for kind, object_id in dict.fromkeys((type(event.obj), event.obj.id) for event in events):
            if kind is api.Task:
                task = view.tasks.get(object_id)
                if task is None or is_dead(task):
                    self._drop_task(object_id)
                else:
                    self._read_task(task)
            elif kind is api.Service:
                self._read_service(view, view.services.get(object_id), object_id)
            elif kind is api.Network:
                network = view.networks.get(object_id)
                if network is None:
                    self._drop_network(object_id)
                else:
                    self._read_network(network)
            elif kind is api.Node:
                if view.nodes.get(object_id) is None:
                    self._drop_node(object_id)
                elif object_id not in self.nodes:
                    self._todo[NODE][object_id] = None
            else:
                self._configure(view)

    def _configure(self, view: View) -> None:
        cluster = next(iter(view.clusters.all()), None)
        pools = (tuple(cluster.defaultAddressPool), cluster.subnetSize) if cluster is not None else ((), 0)
        if pools != self._pools:
            self._pools = pools
            self.networks.subnets.configure(*pools)
            self.networks.freed[waiting.SUBNET] = None

    def _read_task(self, task: api.Task) -> None:
        if task.status.state == api.NEW:
            # A new task that is to be removed never had anything; the reaper removes it as it is.
            if task.desired_state >= api.REMOVE:
                self._drop_task(task.id)
            else:
                self._todo[TASK][task.id] = None
        elif task.networks and self.tasks.note_node(task):
            self._todo[NODE][task.node_id] = None

    def _drop_task(self, task_id: str) -> None:
        self._forget_item(TASK, task_id)
        node_id = self.tasks.drop(task_id)
        if node_id:
            self._todo[NODE][node_id] = None

    def _read_service(self, view: View, service: api.Service | None, service_id: str = "") -> None:
        if service is None:
            self._forget_item(SERVICE, service_id)
            self.endpoints.drop(service_id)
            self.networks.freed[waiting.service(service_id)] = None
        elif _asks(service) or service.HasField("endpoint") or self.waiting.lacks((SERVICE, service.id)):
            self._todo[SERVICE][service.id] = None

    def _read_network(self, network: api.Network) -> None:
        if not network.HasField("driver_state"):
            self._todo[NETWORK][network.id] = None
        if network.spec.ingress and self.nodes.ingress_id != network.id:
            self.nodes.ingress_id = network.id
            self.networks.freed[waiting.network("")] = None

    def _drop_network(self, network_id: str) -> None:
        self._forget_item(NETWORK, network_id)
        self._todo[NODE].update(dict.fromkeys(self.nodes.on(network_id)))
        self.networks.drop(network_id)
        for bits in (V4, V6):
            self.networks.freed[waiting.address(network_id, bits)] = None
        if self.nodes.ingress_id == network_id:
            self.nodes.ingress_id = ""

    def _drop_node(self, node_id: str) -> None:
        self._todo[NODE].pop(node_id, None)
        self._node_waits(node_id, [])
        self.nodes.drop(node_id)

    def _forget_item(self, kind: str, object_id: str) -> None:
        self._todo[kind].pop(object_id, None)
        self.waiting.drop((kind, object_id))

    # -- who is looked at ---------------------------------------------------------------------------------------------

    @property
    def _has_work(self) -> bool:
        return any(self._todo.values())

    def _wake(self) -> bool:
        """Look again at items that something freed can help. Returns whether there is anything to look at."""
        for key in list(self.networks.freed):
            del self.networks.freed[key]
            count: int | None = None
            if key in _ONE_AT_A_TIME:
                count = 1
            elif key[0] == "address":
                overlay = self.networks.get(str(key[1]))
                count = overlay.free(int(str(key[2]))) if overlay is not None else None
                if count:
                    self.networks.freed[key] = None  # the next round may help more items
            waiters = self.waiting.first(key, count)
            if not waiters:
                self.networks.freed.pop(key, None)
            for item in waiters:
                self._todo[item[0]][item[1]] = None
        return self._has_work

    def _work(self, draft: Draft) -> bool:
        """Look at all objects that are due, until the draft is full. Returns whether there was room for all."""
        for kind, look in (
            (NETWORK, self._look_at_network),
            (SERVICE, self._look_at_service),
            (NODE, self._look_at_node),
            (TASK, self._look_at_task),
        ):
            todo = self._todo[kind]
            # Ingress comes first, so it has the first subnet, as in every swarm.
            order = sorted(todo, key=lambda each: each != self.nodes.ingress_id) if kind == NETWORK else list(todo)
            for object_id in order:
                if draft.is_full:
                    return False
                del todo[object_id]
                look(draft, object_id)
        return True

    def _wait(self, item: Item, lacking: Lacking) -> bool:
        """Let an item wait. Returns whether its reason is a new one."""
        is_new = self.waiting.put(item, lacking)
        if is_new and item[0] in (NETWORK, SERVICE):
            # Items that wait for it show its reason.
            self.networks.freed[(item[0], item[1])] = None
        return is_new

    def _done(self, item: Item) -> None:
        """Record that an item has what it waited for."""
        lacked = self.waiting.lacks(item)
        if lacked is not None:
            self.waiting.drop(item)
            if lacked.key in _ONE_AT_A_TIME:
                self.networks.freed[lacked.key] = None

    # -- what they get ------------------------------------------------------------------------------------------------

    def _look_at_network(self, draft: Draft, network_id: str) -> None:
        network = draft.newest(api.Network, network_id)
        if network is None or network.HasField("driver_state"):
            return
        made = self.networks.allocate(network)
        if isinstance(made, Lacking):
            if self._wait((NETWORK, network_id), made):
                self._notes.append(made.reason)
            return
        draft.update(made)
        self._done((NETWORK, network_id))
        self.networks.freed[waiting.network(network_id)] = None
        if made.spec.ingress:
            self._todo[NODE].update(dict.fromkeys(node.id for node in draft.view.nodes.all()))

    def _look_at_service(self, draft: Draft, service_id: str) -> None:
        service = draft.newest(api.Service, service_id)
        if service is None:
            self.waiting.drop((SERVICE, service_id))
            return
        wanted = self._vip_networks(draft, service)
        made: api.Service | Lacking | None = None
        if isinstance(wanted, Lacking):
            made = wanted
        elif not _is_settled(service, wanted):
            made = self.endpoints.allocate(service, wanted)
        self._settled.pop(service_id, None)
        if isinstance(made, Lacking):
            if self._wait((SERVICE, service_id), made):
                self._notes.append(f"service {service.spec.annotations.name}: {made.reason}")
            return
        if made is not None:
            draft.update(made)
        self._done((SERVICE, service_id))
        self.networks.freed[waiting.service(service_id)] = None

    def _vip_networks(self, draft: Draft, service: api.Service) -> list[str] | Lacking:
        """Return the networks on which a service must have a virtual IP, ingress first. All its networks are
        checked.
        """
        found: dict[str, None] = {}
        if needs_ingress(service.spec):
            ingress = draft.newest(api.Network, self.nodes.ingress_id)
            if ingress is None:
                return Lacking("there is no ingress network", waiting.network(""))
            found[ingress.id] = None
        for config in networks_of(service.spec):
            network = draft.newest(api.Network, config.target)
            if network is None:
                return Lacking(f"network {config.target} not found", waiting.network(config.target))
            if is_overlay(network):
                found[network.id] = None
        for network_id in found:
            if self.networks.get(network_id) is None:
                return self._of_network(network_id)
        return [] if service.spec.endpoint.mode == api.EndpointSpec.DNSRR else list(found)

    def _of_network(self, network_id: str) -> Lacking:
        """Return what an item lacks that waits for a network. Its reason is the network's own reason."""
        lacking = self.waiting.lacks((NETWORK, network_id))
        reason = lacking.reason if lacking is not None else f"network {network_id} has not been allocated"
        return Lacking(reason, waiting.network(network_id))

    def _look_at_node(self, draft: Draft, node_id: str) -> None:
        node = draft.newest(api.Node, node_id)
        if node is None:
            self._node_waits(node_id, [])
            return
        changed, lacking = self.nodes.allocate(node, lambda network_id: draft.newest(api.Network, network_id))
        if changed is not None:
            draft.update(changed)
        self._node_waits(node_id, lacking)

    def _node_waits(self, node_id: str, lacking: list[tuple[str, Lacking]]) -> None:
        """Let a node wait for an address on exactly these networks."""
        before = self._waiting_nodes.pop(node_id, set())
        now = {network_id for network_id, _ in lacking}
        for network_id in before - now:
            self.waiting.drop((NODE, node_id, network_id))
        if now:
            self._waiting_nodes[node_id] = now
        for network_id, lacked in lacking:
            if self.waiting.put((NODE, node_id, network_id), lacked):
                self._notes.append(f"node {node_id}: {lacked.reason}")

    def _look_at_task(self, draft: Draft, task_id: str) -> None:
        task = draft.newest(api.Task, task_id)
        # A new task that is to be removed never had anything; the reaper removes it as it is.
        if task is None or task.status.state != api.NEW or task.desired_state >= api.REMOVE:
            self.waiting.drop((TASK, task_id))
            return
        settled = self._settled_of(draft, task.service_id)
        made = self._admit(draft, task, settled)
        if isinstance(made, Lacking):
            if made.key[0] == "network" and self.waiting.lacks((NETWORK, str(made.key[1]))) is not None:
                made = self._of_network(str(made.key[1]))
            if self.waiting.put((TASK, task_id), made, waiting.needs(task.service_id)):
                told = explained(task, made.reason, draft.now)
                if told is not None:
                    draft.update(told)
            return
        draft.update(made)
        self._done((TASK, task_id))

    def _admit(self, draft: Draft, task: api.Task, settled: "_Settled") -> api.Task | Lacking:
        is_plain = not settled.needs_ingress and settled.endpoint is None
        if (is_plain and not task.spec.networks) or task.desired_state > api.COMPLETE:
            return admitted(task, draft.now)  # it needs nothing, or the scheduler will only end it
        if settled.lacking is not None:
            return settled.lacking
        wanted: list[api.NetworkAttachmentConfig] = []
        if settled.needs_ingress:
            wanted.append(api.NetworkAttachmentConfig(target=self.nodes.ingress_id))
        wanted += task.spec.networks or settled.networks
        return self.tasks.admit(
            task, wanted, settled.endpoint, lambda network_id: draft.newest(api.Network, network_id), draft.now
        )

    def _settled_of(self, draft: Draft, service_id: str) -> "_Settled":
        found = self._settled.get(service_id)
        if found is None:
            service = draft.newest(api.Service, service_id) if service_id else None
            found = self._settled[service_id] = _Settled(service, self.waiting.lacks((SERVICE, service_id)))
        return found


class _Settled:
    """What the tasks of one service need to know about it, looked up once for each plan."""

    def __init__(self, service: api.Service | None, lacking: Lacking | None) -> None:
        self.lacking = Lacking(lacking.reason, waiting.service(service.id)) if service is not None and lacking else None
        self.needs_ingress = service is not None and needs_ingress(service.spec)
        self.endpoint = service.endpoint if service is not None and service.HasField("endpoint") else None
        self.networks = service.spec.networks if service is not None else ()


def _other_needs(events: Iterable[Event]) -> Iterator[Key]:
    """Return the keys of the services because of which their tasks now need other networks than before."""
    for event in events:
        if isinstance(event.obj, api.Service):
            now = event.obj if event.action != "remove" else None
            if _tasks_need(event.old) != _tasks_need(now):
                yield waiting.needs(event.obj.id)


def _tasks_need(service: Object | None) -> tuple[bool, list[api.NetworkAttachmentConfig]]:
    """Return the networks that tasks need because of their service: whether ingress, and which others."""
    if not isinstance(service, api.Service):
        return False, []
    return needs_ingress(service.spec), list(service.spec.networks)


def _asks(service: api.Service) -> bool:
    """Return whether a service may need something of its own."""
    return bool(service.spec.endpoint.ports or networks_of(service.spec))


def _is_settled(service: api.Service, vip_networks: Sequence[str]) -> bool:
    """Return whether a service has what its spec asks for. A service that asks for nothing needs no record."""
    endpoint = service.endpoint
    if not service.HasField("endpoint"):
        return not service.spec.endpoint.ports and not vip_networks
    return (
        endpoint.spec == service.spec.endpoint
        and len(endpoint.ports) == len(service.spec.endpoint.ports)
        and {vip.network_id for vip in endpoint.virtual_ips} == set(vip_networks)
    )
