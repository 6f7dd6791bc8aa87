"""How a wanted state changes: what comes is there, what goes takes along what only it needed."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from shoal.network import desired
from shoal.network.wanted import Endpoint, Gossip, Overlay, Sandbox, Subnet, Wanted

EMPTY = Wanted(0)
BLUE = Overlay("blue", "blue", (Subnet("10.0.1.0/24", "10.0.1.1", 4097),), "10.0.1.2/24")
RED = Overlay("red", "red", (Subnet("10.0.2.0/24", "10.0.2.1", 4098),), "10.0.2.2/24")
INGRESS = Overlay("in", "ingress", (Subnet("10.0.0.0/24", "10.0.0.1", 4096),), ingress=True)


def sandbox(name: str, *networks: str) -> Sandbox:
    return Sandbox(
        name,
        f"{name}.1",
        f"/netns/{name}",
        tuple(
            Endpoint(f"{name}-{network}", network, "10.0.9.9/24", "02:42:0a:00:09:09", f"eth{at}")
            for at, network in enumerate(networks)
        ),
    )


def test_a_container_brings_its_networks_and_the_last_takes_them_along() -> None:
    one = desired.with_sandbox(EMPTY, sandbox("a", "blue", "red"), [BLUE, RED])
    two = desired.with_sandbox(one, sandbox("b", "blue"), [BLUE])
    assert [overlay.id for overlay in two.overlays] == ["blue", "red"]
    three = desired.without_sandbox(two, "a")
    assert [overlay.id for overlay in three.overlays] == ["blue"]
    assert desired.without_sandbox(three, "b") == EMPTY
    assert desired.without_sandbox(three, "other") == three


def test_a_container_that_comes_again_is_there_once() -> None:
    one = desired.with_sandbox(EMPTY, sandbox("a", "blue", "red"), [BLUE, RED])
    again = desired.with_sandbox(one, sandbox("a", "blue"), [BLUE])
    assert [each.container for each in again.sandboxes] == ["a"]
    assert [overlay.id for overlay in again.overlays] == ["blue"]


def test_a_container_is_enabled_alone() -> None:
    both = desired.with_sandbox(desired.with_sandbox(EMPTY, sandbox("a", "blue"), [BLUE]), sandbox("b", "blue"), [BLUE])
    one = desired.with_enabled(both, "b", enabled=True)
    assert [[endpoint.enabled for endpoint in each.endpoints] for each in one.sandboxes] == [[False], [True]]
    assert desired.with_enabled(one, "b", enabled=False) == both


def test_an_address_that_is_taken_back_is_gone() -> None:
    one = desired.with_sandbox(EMPTY, sandbox("a", "blue"), [BLUE])
    assert desired.with_node_addresses(one, {"blue": "10.0.1.7/24"}, None).overlays[0].node_address == "10.0.1.7/24"
    assert desired.with_node_addresses(one, {}, None).overlays[0].node_address == ""


def test_ingress_is_there_without_a_container_while_the_node_has_its_address() -> None:
    one = desired.with_node_addresses(EMPTY, {"in": "10.0.0.2/24"}, INGRESS)
    assert one.overlays == (replace(INGRESS, node_address="10.0.0.2/24"),)
    assert desired.with_node_addresses(one, {}, INGRESS) == EMPTY
    assert desired.with_node_addresses(one, {}, None) == EMPTY


def test_gossip_ends_with_the_swarm() -> None:
    gossip = Gossip("0.0.0.0", "10.9.0.1", "10.9.0.1")
    assert desired.with_gossip(desired.with_gossip(EMPTY, gossip), None) == EMPTY


NETWORKS = {"blue": BLUE, "red": RED}
STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from(sorted(NETWORKS)))))


@given(STEPS, st.sets(st.sampled_from("abc")))
def test_a_network_is_there_as_long_as_a_container_is_on_it(steps: list[tuple[str, set[str]]], kept: set[str]) -> None:
    wanted, last = EMPTY, dict[str, set[str]]()
    for container, networks in steps:
        wanted = desired.with_sandbox(wanted, sandbox(container, *networks), [NETWORKS[name] for name in networks])
        last[container] = networks
    wanted = desired.with_only(wanted, kept)
    left = {container: networks for container, networks in last.items() if container in kept}
    assert {each.container for each in wanted.sandboxes} == set(left)
    assert {overlay.id for overlay in wanted.overlays} == set().union(*left.values())
