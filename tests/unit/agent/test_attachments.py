"""From the swarm's words to what the host's network wants, and words that no honest manager says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.agent import attachments
from shoal.api import v1 as api
from shoal.api.predefined import LABEL
from shoal.errors import InvalidArgument, ShoalError, Unimplemented
from shoal.network.types import Attachment, LocalAttachment
from shoal.network.wanted import Gossip, Key, Overlay, Port, Service, Subnet


def network(name: str = "blue", subnet: str = "10.0.1.0/24", gateway: str = "10.0.1.1", **options: str) -> api.Network:
    made = api.Network(id=f"id-{name}", spec=api.NetworkSpec(annotations=api.Annotations(name=name)))
    made.driver_state.name = "overlay"
    made.driver_state.options[attachments.VNI_OPTION] = "4097"
    for key, value in options.items():
        made.driver_state.options[key] = value
    made.ipam.configs.add(subnet=subnet, gateway=gateway)
    return made


def task(*networks: api.NetworkAttachment) -> api.Task:
    made = api.Task(id="t", service_id="s", service_annotations=api.Annotations(name="web"), networks=networks)
    made.endpoint.virtual_ips.add(network_id="id-blue", addr="10.0.1.4/24")
    made.endpoint.ports.add(protocol=api.PortConfig.UDP, target_port=53, published_port=5353)
    made.endpoint.ports.add(target_port=80, published_port=80, publish_mode=api.PortConfig.HOST)
    return made


BLUE = Overlay("id-blue", "blue", (Subnet("10.0.1.0/24", "10.0.1.1", 4097),))


def test_a_task_of_a_service_on_an_overlay() -> None:
    given = task(api.NetworkAttachment(network=network(), addresses=["10.0.1.5/24"], aliases=["w"]))
    assert attachments.attachments(given) == (Attachment(BLUE, "10.0.1.5/24", Service("s", "web", "10.0.1.4", ("w",))),)


def both(*subnets: str, vnis: str = "4097") -> api.Network:
    made = network(**{attachments.VNI_OPTION: vnis})
    del made.ipam.configs[:]
    for subnet in subnets:
        made.ipam.configs.add(subnet=subnet, gateway=subnet.replace("0/24", "1").replace("/64", "1"))
    return made


def test_a_task_with_an_address_of_each_family() -> None:
    given = task(
        api.NetworkAttachment(network=both("fd00::/64", "10.0.1.0/24"), addresses=["fd00::5/64", "10.0.1.5/24"])
    )
    given.endpoint.virtual_ips.add(network_id="id-blue", addr="fd00::4/64")
    (made,) = attachments.attachments(given)
    assert made.overlay.subnets == (Subnet("10.0.1.0/24", "10.0.1.1", 4097), Subnet("fd00::/64", "fd00::1", 4097))
    assert (made.address, made.address6) == ("10.0.1.5/24", "fd00::5/64")
    assert made.service == Service("s", "web", "10.0.1.4", vip6="fd00::4")


def test_a_second_address_is_of_the_network_too() -> None:
    given = task(
        api.NetworkAttachment(network=both("10.0.1.0/24", "fd00::/64"), addresses=["10.0.1.5/24", "fd01::5/64"])
    )
    with pytest.raises(InvalidArgument, match="fd01::5/64 is in none of the subnets"):
        attachments.attachments(given)


def test_a_network_of_ipv6_alone_has_its_own_vxlan_ids() -> None:
    made = attachments.overlay(both("fd00::/64", "fd01::/64", vnis="7,8"))
    assert [subnet.vni for subnet in made.subnets] == [7, 8]
    with pytest.raises(InvalidArgument, match="has 2 subnets and 1 VXLAN ids"):
        attachments.overlay(both("fd00::/64", "fd01::/64"))


def test_ports_are_of_ingress_alone() -> None:
    ingress = network("ingress")
    ingress.spec.ingress = True
    given = task(api.NetworkAttachment(network=ingress, addresses=["10.0.1.5/24"]))
    (made,) = attachments.attachments(given)
    assert made.overlay.ingress
    assert made.service == Service("s", "web", "", (), (Port("udp", 53, 5353),))


def test_a_service_can_ask_that_its_tasks_do_not_see_clients() -> None:
    given = task(api.NetworkAttachment(network=network(), addresses=["10.0.1.5/24"]))
    for label, keeps in (("true", True), ("false", False), ("x", True)):
        given.service_annotations.labels["shoal.ingress.source-ip"] = label
        service = attachments.attachments(given)[0].service
        assert service is not None
        assert service.keeps_source == keeps


def test_a_container_of_ones_own_has_no_service() -> None:
    given = task(api.NetworkAttachment(network=network(), addresses=["10.0.1.5/24"]))
    given.service_id = ""
    assert attachments.attachments(given)[0].service is None


def test_predefined_networks_are_none() -> None:
    host = api.Network(spec=api.NetworkSpec(annotations=api.Annotations(name="host")))
    host.spec.annotations.labels["com.docker.swarm.predefined"] = "true"
    assert attachments.attachments(task(api.NetworkAttachment(network=host))) == ()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (network(gateway="10.0.2.1"), "is not in its subnet"),
        (network(subnet="10.0.1.5/24"), "has no such subnet"),
        (network(subnet=""), "has no such subnet"),
        (network(**{attachments.VNI_OPTION: "0"}), "which is none"),
        (network(**{attachments.VNI_OPTION: "16777216"}), "which is none"),
        (network(**{attachments.VNI_OPTION: "1,2"}), "has 1 subnets and 2 VXLAN ids"),
        (network(**{attachments.VNI_OPTION: "9" * 5000}), "which is none"),
        (network(**{attachments.MTU_OPTION: "67"}), "MTU"),
        (network(**{attachments.MTU_OPTION: "-1"}), "MTU"),
    ],
)
def test_a_network_that_cannot_be_is_refused_by_name(bad: api.Network, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        attachments.overlay(bad)


@pytest.mark.parametrize("addresses", [[], ["x"], ["10.0.2.5/24"], ["10.0.1.5/33"]])
def test_an_address_that_cannot_be_is_refused(addresses: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="blue"):
        attachments.attachments(task(api.NetworkAttachment(network=network(), addresses=addresses)))


def test_too_many_networks_are_refused() -> None:
    each = api.NetworkAttachment(network=network(), addresses=["10.0.1.5/24"])
    with pytest.raises(InvalidArgument, match="on 65 networks"):
        attachments.attachments(task(*([each] * 65)))


def test_networks_that_a_node_makes_by_itself_are_no_overlays() -> None:
    lan = api.Network(id="l" * 25, spec=api.NetworkSpec(annotations=api.Annotations(name="lan"), network="base"))
    lan.driver_state.name = "macvlan"
    given = task(
        api.NetworkAttachment(network=lan),
        api.NetworkAttachment(network=network(), addresses=["10.0.1.5/24"]),
        api.NetworkAttachment(network=lan),
    )
    assert [each.overlay.name for each in attachments.attachments(given)] == ["blue"]
    assert attachments.own_networks(given) == (LocalAttachment("l" * 25, "lan", "macvlan", "base"),)
    lan.id = "../lan"
    with pytest.raises(InvalidArgument, match="network lan has an id that is none"):
        attachments.own_networks(task(api.NetworkAttachment(network=lan)))


def test_another_driver_is_named() -> None:
    weave = network()
    weave.driver_state.name = "weave"
    with pytest.raises(Unimplemented, match="driver weave"):
        attachments.overlay(weave)


def test_options_of_an_overlay() -> None:
    made = attachments.overlay(network(encrypted="", **{attachments.MTU_OPTION: "1300"}))
    assert (made.encrypted, made.mtu) == (True, 1300)


def test_a_nodes_own_addresses() -> None:
    ingress = network("ingress")
    ingress.spec.ingress = True
    node = api.Node()
    node.attachments.add(network=ingress, addresses=["10.0.1.2/24"])
    node.attachments.add(network=network(), addresses=["10.0.1.3/24"])
    node.attachments.add(network=network("bad", subnet="x"), addresses=["10.0.1.3/24"])
    addresses, found = attachments.node_addresses(node)
    assert addresses == {"id-ingress": "10.0.1.2/24", "id-blue": "10.0.1.3/24"}
    assert found == attachments.overlay(ingress)
    older = api.Node(attachment=node.attachments[0])
    assert attachments.node_addresses(older)[0] == {"id-ingress": "10.0.1.2/24"}
    assert attachments.node_addresses(api.Node()) == ({}, None)


def test_the_networks_that_a_node_was_told_of_are_each_there_once() -> None:
    def on(name: str, label: str = "") -> api.NetworkAttachment:
        return api.NetworkAttachment(
            network=api.Network(
                id=f"id-{name}", spec=api.NetworkSpec(annotations=api.Annotations(name=name, labels={"l": label}))
            )
        )

    host = on("host")
    host.network.spec.annotations.labels[LABEL] = "true"
    tasks = [api.Task(networks=[on("blue", "older"), host]), api.Task(networks=[on("red")])]
    told = attachments.told_networks(api.Node(attachments=[on("blue", "newer")]), tasks)
    assert {each.id: each.spec.annotations.labels["l"] for each in told} == {"id-blue": "newer", "id-red": ""}
    assert [each.id for each in attachments.told_networks(None, tasks[1:])] == ["id-red"]


def test_how_a_node_takes_part_in_gossip() -> None:
    key = api.EncryptionKey(subsystem="networking:gossip", key=b"\1" * 16, lamport_time=7)
    made = attachments.gossip(
        [key],
        bind="0.0.0.0",
        advertise="10.9.0.2",
        data_path="",
        vxlan_port=0,
        managers=["10.9.0.2:2377", "10.9.0.1:2377", "[fd00::1]:2377", ""],
    )
    keys = (Key("networking:gossip", "01" * 16, 7),)
    assert made == Gossip("0.0.0.0", "10.9.0.2", "10.9.0.2", 4789, ("10.9.0.1", "fd00::1"), keys)
    assert attachments.gossip([], bind="", advertise="", data_path="", vxlan_port=0, managers=[]) is None


@given(st.binary(max_size=300))
def test_whatever_a_manager_says_is_taken_or_refused(text: bytes) -> None:
    for kind, read in ((api.Task, attachments.attachments), (api.Node, attachments.node_addresses)):
        message = kind()
        try:
            message.ParseFromString(text)
        except Exception:  # noqa: BLE001 - protobuf's own
            continue
        try:
            read(message)  # type: ignore[arg-type]
        except ShoalError:
            continue
