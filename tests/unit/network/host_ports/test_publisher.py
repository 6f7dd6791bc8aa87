"""Which ports a container is given, and in which words it is refused: with real sockets, and a kernel that only
listens. cluster/test_host_ports has a real one."""

import json
import resource
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, cast

import pytest

from shoal.errors import ShoalError
from shoal.network.host_ports import publisher as module
from shoal.network.host_ports.direct import address6
from shoal.network.host_ports.ports import Lead
from shoal.network.host_ports.publisher import Publisher
from shoal.network.kernel.nftables import Nftables, Refused
from shoal.network.types import Endpoint, HostPort

ONE = Endpoint("bridge", "n", "e1", "172.18.0.2", 16, host_interface="ve1")
TWO = Endpoint("bridge", "n", "e2", "172.18.0.3", 16, host_interface="ve2")


class Nft:
    """Keeps the last text of a table, and lists it."""

    def __init__(self) -> None:
        self.table = ""
        self.foreign = False  # something of another kind stands there
        self.written = 0

    def run(self, text: str, *, json: bool = False) -> str:
        if text.startswith("list"):
            if not self.table:
                raise Refused("No such file or directory")
            return self.table
        if self.foreign and "delete table" not in text:
            raise Refused("File exists")
        self.foreign = False
        head, _, tail = text.rpartition("delete table ip shoal_t_ports\n")
        self.table = tail if head else text
        self.written += 1
        return ""

    def close(self) -> None:
        pass


@pytest.fixture
def nft() -> Nft:
    return Nft()


@pytest.fixture
def publisher(nft: Nft, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    monkeypatch.setattr(module, "set_sysctl", lambda name, value: None)
    made = Publisher("shoalt", "shoal_t_ports", IPv4Network("172.18.0.0/16"))
    monkeypatch.setattr(made, "_nftables", cast(Nftables, nft))
    monkeypatch.setattr(made, "_let_answer_itself", lambda interface: None)
    monkeypatch.setattr(made, "_end", lambda answered, begun=(): None)
    monkeypatch.setattr(made, "_is_there", lambda: bool(nft.table))
    return made


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which a program listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def free() -> int:
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])


def can_be_bound(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def test_ports_are_given_in_the_order_of_asking_and_led_to_the_container(publisher: Publisher, nft: Nft) -> None:
    port = free()
    with publisher.publish("a", ONE, [HostPort("tcp", 81), HostPort("tcp", 80, port)]) as held:
        chosen = held.ports[0].published
        assert held.ports == (HostPort("tcp", 81, chosen), HostPort("tcp", 80, port))
        assert chosen not in (0, port)
        assert len(held.descriptors) == 4  # of each kind of IP
        for number, target in ((chosen, 81), (port, 80)):
            assert f"tcp . {number} : 172.18.0.2 . {target}" in nft.table
            assert not can_be_bound(number)
    assert can_be_bound(port)


def test_a_chosen_number_is_not_chosen_again_at_once(publisher: Publisher) -> None:
    with publisher.publish("a", ONE, [HostPort("tcp", 80)]) as first:
        publisher.unpublish("a")
    with publisher.publish("b", TWO, [HostPort("tcp", 80)]) as second:
        assert first.ports != second.ports


def test_what_another_program_listens_on_is_not_taken_from_it(publisher: Publisher, nft: Nft, taken: int) -> None:
    port = free()
    with pytest.raises(ShoalError, match=rf"^failed to bind host port 0\.0\.0\.0:{taken}/tcp: address already in use$"):
        publisher.publish("a", ONE, [HostPort("tcp", 79, port), HostPort("tcp", 80, taken)])
    assert not nft.table
    assert not publisher.leads
    assert can_be_bound(port)  # what it had been given before is given back


def test_another_containers_port_is_not_taken_from_it(publisher: Publisher) -> None:
    port = free()
    with publisher.publish("a", ONE, [HostPort("tcp", 80, port)]):
        with pytest.raises(ShoalError, match=rf"^Bind for 0\.0\.0\.0:{port} failed: port is already allocated$"):
            publisher.publish("b", TWO, [HostPort("tcp", 80, port)])
        publisher.publish("b", TWO, [HostPort("udp", 80, port)]).close()  # the udp port of a number is another
    assert {lead.container for lead in publisher.leads.values()} == {"a", "b"}


def test_a_port_of_one_that_has_ended_is_free_though_its_rules_are_still_there(publisher: Publisher, nft: Nft) -> None:
    port = free()
    publisher.publish("a", ONE, [HostPort("tcp", 80, port)]).close()  # as when its conmon has ended
    with publisher.publish("b", TWO, [HostPort("tcp", 80, port)]):
        publisher.unpublish("a")  # comes late, and is about nothing
        assert f"tcp . {port} : 172.18.0.3 . 80" in nft.table


def test_ports_of_the_nodes_themselves_are_no_containers(publisher: Publisher) -> None:
    with pytest.raises(ShoalError, match=r"failed to bind host port 0\.0\.0\.0:4789/udp: address already in use"):
        publisher.publish("a", ONE, [HostPort("udp", 80, 4789)], {("udp", 4789)})


def test_more_ports_than_files_may_be_open_are_refused(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (8, 8))
    with pytest.raises(ShoalError, match="3 ports of the host are too many where 8 files may be open"):
        publisher.publish("a", ONE, [HostPort("tcp", number) for number in (1, 2, 3)])


def test_a_host_without_a_free_port_says_so(publisher: Publisher, monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    monkeypatch.setattr(module, "_read", lambda name: f"{taken} {taken}" if name.endswith("range") else "")
    with pytest.raises(ShoalError, match=r"^all ports are allocated$"):
        publisher.publish("a", ONE, [HostPort("tcp", 80)])


def test_with_the_last_port_the_table_goes(publisher: Publisher, nft: Nft) -> None:
    publisher.publish("a", ONE, [HostPort("tcp", 80, free())]).close()
    publisher.unpublish("a")
    assert not nft.table
    written = nft.written
    publisher.unpublish("a")
    assert nft.written == written


def test_rules_that_somebody_changed_are_written_again_and_others_are_not(publisher: Publisher, nft: Nft) -> None:
    publisher.publish("a", ONE, [HostPort("tcp", 80, free())]).close()
    text, written = nft.table, nft.written
    publisher.mend()
    assert nft.written == written
    for changed in ("", text + "add rule"):
        nft.table = changed
        publisher.mend()
        assert nft.table == text


def test_without_ports_there_is_nothing_to_mend(publisher: Publisher, nft: Nft) -> None:
    publisher.mend()
    assert not nft.written


def test_what_the_last_run_published_goes_on(publisher: Publisher, nft: Nft) -> None:
    publisher.publish("a", ONE, [HostPort("tcp", 80, free())]).close()
    leads, text = publisher.leads, nft.table
    nft.table = '{"nftables": []}'  # what is there: nothing of it counts
    publisher.adopt(leads)
    assert (nft.table, publisher.leads) == (text, leads)


def test_what_leads_to_one_whose_record_is_lost_goes_on_until_it_is_taken_away(publisher: Publisher, nft: Nft) -> None:
    elements = [[{"concat": ["tcp", 80 + at]}, {"concat": [f"172.18.0.{at}", 80]}] for at in (2, 3)]
    nft.table = json.dumps({"nftables": [{"map": {"name": "ports", "elem": elements}}]})
    publisher.adopt({}, {IPv4Address("172.18.0.3"): "short"})
    assert publisher.leads == {("tcp", 83): Lead("short", IPv4Address("172.18.0.3"), 80)}
    publisher.unpublish("short")
    assert not nft.table


def test_a_table_that_somebody_made_in_our_name_gives_way(publisher: Publisher, nft: Nft) -> None:
    nft.foreign = True
    publisher.publish("a", ONE, [HostPort("tcp", 80, free())]).close()
    assert "172.18.0.2" in nft.table


def test_what_the_last_run_left_is_swept(publisher: Publisher, nft: Nft) -> None:
    nft.table = '{"nftables": []}'
    publisher.adopt({})
    assert not nft.table
    written = nft.written
    publisher.adopt({})
    assert nft.written == written


class Six:
    """The rules of IPv6, and the containers with addresses of it: notes what is done, in its order."""

    prefix = IPv6Network("fd00:1:2:3::/64")

    def __init__(self) -> None:
        self.works = True
        self.refuses = ""
        self.done: list[str] = []
        self.found: dict[Any, tuple[IPv6Address, int]] = {}

    def apply(self, ports: Any, direct: Any = ()) -> bool:
        self.done.append(f"rules with {len(direct)}")
        return self.works

    def look(self, leads: Any) -> dict[Any, tuple[IPv6Address, int]]:
        self.done.append("containers")
        return self.found

    def open_bridge(self) -> None:
        self.done.append("bridge")
        if self.refuses:
            raise ShoalError(self.refuses)

    def remove(self) -> None:
        self.done.append("no bridge")


@pytest.fixture
def six(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> Six:
    made = Six()
    monkeypatch.setattr(publisher, "_six", made)
    monkeypatch.setattr(publisher, "_direct", made)
    return made


def test_no_container_gets_an_address_of_ipv6_before_the_rules_that_guard_it(publisher: Publisher, six: Six) -> None:
    port = free()
    six.found = {("tcp", port): (address6(six.prefix, IPv4Address("172.18.0.2")), 80)}
    publisher.publish("a", ONE, [HostPort("tcp", 80, port)]).close()
    assert six.done == ["rules with 0", "containers", "bridge", "rules with 1"]
    six.done.clear()
    publisher.look()
    assert six.done == ["rules with 1", "containers"]
    six.found = {}
    publisher.look()
    assert six.done[2:] == ["rules with 1", "containers", "rules with 0"]


def test_where_ipv6_cannot_be_had_no_container_gets_an_address_of_it(publisher: Publisher, six: Six) -> None:
    six.works = False
    publisher.publish("a", ONE, [HostPort("tcp", 80, free())]).close()
    publisher.look()
    assert six.done == ["rules with 0", "no bridge"] * 2


def test_a_bridge_that_gets_no_address_of_ipv6_is_told_of_once_until_that_changes(
    publisher: Publisher, six: Six, caplog: pytest.LogCaptureFixture
) -> None:
    port = free()
    six.found = {("tcp", port): (address6(six.prefix, IPv4Address("172.18.0.2")), 80)}
    six.refuses = "no room"
    publisher.publish("a", ONE, [HostPort("tcp", 80, port)]).close()
    for refuses in ("no room", "no bridge", "no bridge", "", ""):
        six.refuses = refuses
        publisher.look()
    publisher.unpublish("a")
    said = "IPv6 clients of published ports are seen as this host: "
    assert caplog.messages == [said + "no room", said + "no bridge"]
