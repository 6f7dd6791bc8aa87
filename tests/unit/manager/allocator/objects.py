"""Networks, services and tasks in one line each, for tests of the allocator."""

from shoal.api import v1 as api
from shoal.manager.allocator.networks import VNI_OPTION


def network(name: str, *subnets: str, ingress: bool = False, vnis: str = "", driver: str = "") -> api.Network:
    made = api.Network(id=name)
    made.spec.annotations.name = name
    made.spec.ingress = ingress
    for subnet in subnets:
        made.spec.ipam.configs.add(subnet=subnet)
    if vnis:
        made.spec.driver_config.options[VNI_OPTION] = vnis
    if driver:
        made.spec.driver_config.name = driver
    return made


def service(name: str, *networks: str, ports: str = "", mode: str = "VIP") -> api.Service:
    """Return a service. `ports`: `published:target/protocol`, with `host:` before ports in host mode."""
    made = api.Service(id=name)
    made.spec.annotations.name = name
    for target in networks:
        made.spec.task.networks.add(target=target)
    for text in ports.split():
        where, _, rest = text.rpartition("host:")
        mapping, _, protocol = rest.partition("/")
        published, _, target = mapping.partition(":")
        made.spec.endpoint.ports.add(
            published_port=int(published),
            target_port=int(target),
            protocol=api.PortConfig.Protocol.Value(protocol.upper() or "TCP"),
            publish_mode=api.PortConfig.HOST if text.startswith("host:") else api.PortConfig.INGRESS,
        )
        assert not where
    if mode == "DNSRR":
        made.spec.endpoint.mode = api.EndpointSpec.DNSRR
    return made


def task(name: str, of: api.Service | None = None, *networks: str, state: api.TaskState = api.NEW) -> api.Task:
    made = api.Task(id=name, service_id=of.id if of is not None else "", desired_state=api.RUNNING)
    made.status.state = state
    if of is not None:
        made.spec.CopyFrom(of.spec.task)
        made.endpoint.spec.CopyFrom(of.spec.endpoint)
    for target in networks:
        made.spec.networks.add(target=target)
    return made
