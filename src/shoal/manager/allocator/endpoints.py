"""What services get: published ports, and a virtual IP on each network.

Pure. A service gets all that its spec asks for, or keeps what it has. Ports are freed with the service or when its spec
drops them. The holders of a virtual IP are the service and the tasks that know the IP, so nobody else gets it while one
of these tasks runs. Source: SwarmKit manager/allocator/networkallocator (`AllocateService`), portallocator.go.
"""

from collections.abc import Iterable, Sequence

from shoal.api import v1 as api
from shoal.manager.allocator import waiting
from shoal.manager.allocator.networks import Networks
from shoal.manager.allocator.numbers import Numbers
from shoal.manager.allocator.waiting import Lacking
from shoal.store.changes import copy

FIRST_PORT, LAST_PORT = 30000, 32767  # given for a port 0
MOST = 65535

_Port = tuple[int, int]  # protocol, number


def networks_of(spec: api.ServiceSpec) -> Sequence[api.NetworkAttachmentConfig]:
    """Return the networks of a service. Clients of API versions before 1.25 write them beside the task's template."""
    return spec.task.networks or spec.networks


class Endpoints:
    """The ports and virtual IPs of all services."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._ports = {protocol: Numbers(FIRST_PORT, LAST_PORT) for protocol in api.PortConfig.Protocol.values()}
        self._held: dict[str, api.Endpoint] = {}
        self._names: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def ports(self) -> int:
        """Return the number of ports that are taken."""
        return sum(map(len, self._ports.values()))

    def restore(self, service: api.Service) -> list[str]:
        """Restore what a service was given before. Returns what is wrong with it, in words."""
        endpoint = service.endpoint
        name = self._names[service.id] = service.spec.annotations.name
        wrong = []
        for protocol, number in _ingress_ports(endpoint):
            if not self._ports[protocol].hold(number, service.id):
                wrong.append(f"service {name}: {self._in_use(protocol, number)}")
        held = copy(endpoint)
        del held.virtual_ips[:]
        for vip in endpoint.virtual_ips:
            if self._networks.get(vip.network_id) is None:
                continue
            held.virtual_ips.append(vip)
            wrong += [
                f"service {name}: another has its address {text}"
                for text in self._networks.hold(vip.network_id, [vip.addr])
            ]
        self._held[service.id] = held
        return wrong

    def go_on(self) -> None:
        """Continue after the highest port. To be called when everything is restored."""
        for numbers in self._ports.values():
            numbers.go_on(numbers.all())

    def allocate(self, service: api.Service, vip_networks: Sequence[str]) -> api.Service | Lacking:
        """Return a service with the ports of its spec, and a virtual IP on each of these networks."""
        held = self._held.get(service.id, api.Endpoint())
        self._names[service.id] = service.spec.annotations.name
        ports = self._allocate_ports(service, held)
        if isinstance(ports, Lacking):
            return ports
        vips = self._allocate_vips(held, vip_networks)
        kept_ports = set(_ingress_ports(held))
        if isinstance(vips, Lacking):
            self._release_ports(service.id, set(_ingress(ports)) - kept_ports)
            return vips
        self._release_ports(service.id, kept_ports - set(_ingress(ports)))
        for vip in held.virtual_ips:
            if vip.network_id not in vip_networks:
                self._networks.release(vip.network_id, [vip.addr])
        changed = copy(service)
        changed.endpoint.Clear()
        if service.spec.HasField("endpoint"):
            changed.endpoint.spec.CopyFrom(service.spec.endpoint)
        changed.endpoint.ports.extend(ports)
        changed.endpoint.virtual_ips.extend(vips)
        self._held[service.id] = copy(changed.endpoint)
        return changed

    def drop(self, service_id: str) -> None:
        """Take back what a service had."""
        self._names.pop(service_id, None)
        held = self._held.pop(service_id, None)
        if held is None:
            return
        self._release_ports(service_id, _ingress_ports(held))
        for vip in held.virtual_ips:
            self._networks.release(vip.network_id, [vip.addr])

    def _allocate_ports(self, service: api.Service, held: api.Endpoint) -> list[api.PortConfig] | Lacking:
        ports = [copy(port) for port in service.spec.endpoint.ports]
        taken: list[_Port] = []  # in this attempt
        # First the ports that the spec names, so that none of them is given for a port 0.
        for protocol, number in _ingress(ports):
            if number > MOST:
                self._release_ports(service.id, taken)
                return Lacking(f"{number} is no port: the last one is {MOST}", waiting.NEVER)
            numbers = self._ports[protocol]
            is_new = numbers.owner_of(number) is None
            if not numbers.hold(number, service.id):
                self._release_ports(service.id, taken)
                return Lacking(self._in_use(protocol, number), waiting.port(protocol, number))
            if is_new:
                taken.append((protocol, number))
        explicit = set(_ingress(ports))
        former = {_key(port): port.published_port for port in held.ports if _is_ingress(port)}
        for port in ports:
            if not _is_ingress(port) or port.published_port:
                continue
            number = former.pop(_key(port), 0)
            if not number or (port.protocol, number) in explicit:
                found = self._ports[port.protocol].take(service.id)
                if found is None:
                    self._release_ports(service.id, taken)
                    reason = f"no published port from {FIRST_PORT} to {LAST_PORT} is free"
                    return Lacking(reason, waiting.port(port.protocol, 0))
                number = found
                taken.append((port.protocol, number))
            port.published_port = number
        return ports

    def _allocate_vips(self, held: api.Endpoint, vip_networks: Sequence[str]) -> list[api.Endpoint.VirtualIP] | Lacking:
        former: dict[str, list[str]] = {}
        for vip in held.virtual_ips:
            former.setdefault(vip.network_id, []).append(vip.addr)
        vips: list[api.Endpoint.VirtualIP] = []
        for network_id in vip_networks:
            addresses = former.get(network_id)
            if addresses is None:
                # Of IPv4 first: a Docker Engine takes the first one alone.
                taken = self._networks.take(network_id, all_families=True)
                if isinstance(taken, Lacking):
                    for vip in vips:
                        if vip.network_id not in former:
                            self._networks.release(vip.network_id, [vip.addr])
                    return taken
                addresses = taken
            vips += [api.Endpoint.VirtualIP(network_id=network_id, addr=address) for address in addresses]
        return vips

    def _release_ports(self, service_id: str, ports: Iterable[_Port]) -> None:
        for protocol, number in ports:
            if self._ports[protocol].release(number, service_id):
                self._networks.freed[waiting.port(protocol, number)] = None
                self._networks.freed[waiting.port(protocol, 0)] = None

    def _in_use(self, protocol: int, number: int) -> str:
        owner = self._ports[protocol].owner_of(number) or ""
        word = api.PortConfig.Protocol.Name(protocol).lower()
        return f"port {number}/{word} is in use by service {self._names.get(owner, owner)}"


def _is_ingress(port: api.PortConfig) -> bool:
    return port.publish_mode == api.PortConfig.INGRESS


def _ingress(ports: Iterable[api.PortConfig]) -> list[_Port]:
    return [(port.protocol, port.published_port) for port in ports if _is_ingress(port) and port.published_port]


def _ingress_ports(endpoint: api.Endpoint) -> list[_Port]:
    return _ingress(endpoint.ports)


def _key(port: api.PortConfig) -> tuple[str, int, int]:
    return port.name, port.protocol, port.target_port
