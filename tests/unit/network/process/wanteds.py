"""Wanted states at random, for tests: a few networks and containers that come, change and go."""

from hypothesis import strategies as st

from shoal.network.wanted import Endpoint, Gossip, Overlay, Sandbox, Service, Subnet, Wanted

NETWORKS = ("blue", "red", "green")
CONTAINERS = ("a", "b", "c", "d")


def _subnets(network: str, other: bool, both: bool) -> tuple[Subnet, ...]:
    number = NETWORKS.index(network) + (100 if other else 1)
    four = Subnet(f"10.{number}.0.0/24", f"10.{number}.0.1", 4096 + number)
    return (four, Subnet(f"fd00:{number}::/64", f"fd00:{number}::1", 4096 + number)) if both else (four,)


@st.composite
def overlays(draw: st.DrawFn, network: str) -> Overlay:
    given = [_subnets(network, other, both) for other in (False, True) for both in (False, True)]
    subnets = draw(st.sampled_from([(), *given]))
    return Overlay(
        network,
        draw(st.sampled_from([network, "other"])),
        subnets,
        internal=draw(st.booleans()),
        ingress=draw(st.integers(0, 9)) == 0,
        encrypted=draw(st.integers(0, 5)) == 0,
    )


@st.composite
def sandboxes(draw: st.DrawFn, container: str) -> Sandbox:
    """One whose endpoints have addresses and ids of their own, one attachment or another."""
    last = CONTAINERS.index(container) + 10
    endpoints = []
    for at, network in enumerate(NETWORKS):
        if draw(st.booleans()):
            attachment = draw(st.integers(0, 1))
            service = draw(st.sampled_from(["", "web", "db"]))
            number = at + draw(st.sampled_from([1, 100]))
            vip = f"10.{number}.0.{3 if service == 'web' else 4}" if draw(st.booleans()) else ""
            vip6 = f"fd00:{number}::{3 if service == 'web' else 4}" if draw(st.booleans()) else ""
            endpoint = Endpoint(
                f"{container}{at}{attachment}".ljust(64, "0"),
                network,
                f"10.{number}.0.{last}/24",
                f"02:42:0a:{number:02x}:00:{last:02x}",
                f"eth{at}",
                Service(service, service, vip, vip6=vip and vip6) if service else None,
                enabled=draw(st.booleans()),
                address6=f"fd00:{number}::{last}/64" if draw(st.booleans()) else "",
            )
            endpoints.append(endpoint)
    return Sandbox(container.ljust(64, "0"), f"web.{container}", f"/n/{container}", tuple(endpoints))


@st.composite
def sequences(draw: st.DrawFn, most: int = 6) -> list[Wanted]:
    """Wanted states one after another. Most of each is as in the one before it, the same objects."""
    networks: dict[str, Overlay] = {}
    containers: dict[str, Sandbox] = {}
    gossip: Gossip | None = None
    found = []
    for revision in range(1, draw(st.integers(1, most)) + 1):
        for network in draw(st.sets(st.sampled_from(NETWORKS), max_size=2)):
            if draw(st.booleans()):
                networks[network] = draw(overlays(network))
            else:
                networks.pop(network, None)
        for container in draw(st.sets(st.sampled_from(CONTAINERS), max_size=2)):
            if draw(st.integers(0, 2)):
                containers[container] = draw(sandboxes(container))
            else:
                containers.pop(container, None)
        if draw(st.integers(0, 3)) == 0:
            gossip = draw(st.sampled_from([None, Gossip("127.0.0.1", "127.0.0.1", "127.0.0.2")]))
        listed = tuple(draw(st.permutations(list(containers.values())))) if draw(st.integers(0, 5)) == 0 else None
        found.append(Wanted(revision, gossip, tuple(networks.values()), listed or tuple(containers.values())))
    return found
