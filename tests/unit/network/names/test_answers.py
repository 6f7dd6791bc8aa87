"""Docker's rules, question by question, with a directory of two networks."""

import random
from dataclasses import replace
from ipaddress import ip_address

import pytest
from dnslib import EDNS0, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from shoal.network.directory import Directory
from shoal.network.names.answers import Asker, Remembered, answer, asker, reversed_address
from shoal.network.names.questions import AAAA, MX, PTR, TCP_LIMIT, A, Question, read
from shoal.network.records import ENDPOINTS, Changed, EndpointRecord
from shoal.network.wanted import Endpoint, Overlay, Sandbox

SRV, TXT = 33, 16
VIP, ONE, TWO, INNER, OUTER, SIX = (
    ip_address(one) for one in ("10.0.1.9", "10.0.1.3", "10.0.1.4", "10.0.2.3", "10.0.3.3", "fd00::3")
)
FRONT = Overlay("f", "Front.net", ())
BACK = Overlay("b", "back", (), internal=True)
ELSEWHERE = Overlay("e", "elsewhere", ())
INGRESS = Overlay("i", "ingress", (), ingress=True)
OVERLAYS = [INGRESS, BACK, FRONT, ELSEWHERE]


@pytest.fixture(scope="module")
def directory() -> Directory:
    return filled(
        ("f", EndpointRecord("web.1.x", ONE, "s", "web", VIP, aliases=("Shop",))),
        ("f", EndpointRecord("web.2.x", TWO, "s", "web", VIP)),
        ("f", EndpointRecord("both.1.y", ONE, "t", "both")),
        ("f", EndpointRecord("dot.ted", TWO)),
        ("f", EndpointRecord("six", SIX)),
        ("b", EndpointRecord("both.2.y", INNER, "t", "both")),
        ("b", EndpointRecord("inner", INNER)),
        ("b", EndpointRecord("six", INNER)),
        ("e", EndpointRecord("away", OUTER)),
        ("i", EndpointRecord("web.1.x", OUTER, "s", "mesh", OUTER)),
    )


def filled(*records: tuple[str, EndpointRecord]) -> Directory:
    made = Directory()
    made.set_overlays(OVERLAYS)
    made.apply(
        Changed(ENDPOINTS, network, str(at), "node", None, record.encode())
        for at, (network, record) in enumerate(records)
    )
    return made


def on(*networks: str, ndots_set: bool = False) -> Asker:
    endpoints = tuple(Endpoint(network, network, "10.0.0.9/24", "", "eth0") for network in networks)
    return asker(Sandbox("c", "c", "/n", endpoints, ("192.0.2.1",), ndots_set=ndots_set), OVERLAYS)


WHO = on("i", "b", "f")


def asked(name: str, kind: int = A, size: int = 0, version: int = 0, klass: int = 1) -> Question:
    made = DNSRecord(DNSHeader(id=7), q=DNSQuestion(name, kind, klass))
    if size:
        made.add_ar(EDNS0(udp_len=size, version=version))
    found = read(bytes(made.pack()))
    assert isinstance(found, Question)
    return found


def told(
    directory: Directory, name: str, kind: int = A, who: Asker = WHO, limit: int = 512, rcode: int = 0
) -> set[str] | None:
    reply = answer(asked(name, kind), who, directory, random.Random(1).random, limit)
    if reply is None:
        return None
    theirs = DNSRecord.parse(reply)
    assert theirs.header.rcode == rcode
    assert all(one.ttl == 600 and str(one.rname) == str(theirs.q.qname) for one in theirs.rr)
    addresses = [str(one.rdata) for one in theirs.rr]
    assert len(addresses) == len(set(addresses))
    return set(addresses)


def test_names_of_the_askers_networks_are_known(directory: Directory) -> None:
    assert told(directory, "web") == told(directory, "SHOP.") == {str(VIP)}
    assert told(directory, "tasks.web") == {str(ONE), str(TWO)}
    assert told(directory, "web.1.x") == {str(ONE)}
    assert told(directory, "inner") == {str(INNER)}


def test_names_of_other_networks_are_asked_outside(directory: Directory) -> None:
    assert told(directory, "away") is None
    assert told(directory, "inner", who=on("f")) is None
    assert told(directory, "mesh") is None  # ingress has no names
    assert told(directory, "mesh.ingress") is None
    assert told(directory, "example.com") is None
    assert told(directory, "nobody") is None


def test_the_first_network_that_knows_a_name_answers(directory: Directory) -> None:
    assert told(directory, "both") == {str(ONE)}  # internal networks come last
    assert told(directory, "both", who=on("b")) == {str(INNER)}


def test_a_networks_name_behind_it_chooses_the_network(directory: Directory) -> None:
    assert told(directory, "both.back") == {str(INNER)}
    assert told(directory, "both.front.NET") == {str(ONE)}
    assert told(directory, "tasks.web.front.net") == {str(ONE), str(TWO)}
    assert told(directory, "dot.ted.front.net") == told(directory, "dot.ted") == {str(TWO)}
    assert told(directory, "inner.front.net") is None
    assert told(directory, "away.elsewhere") is None


def test_a_known_name_without_such_an_address_is_empty(directory: Directory) -> None:
    assert told(directory, "web", AAAA) == set()
    assert told(directory, "web", MX) == set()
    assert told(directory, "web.front.net", AAAA) == set()
    assert told(directory, "six", AAAA) == {str(SIX)}
    assert told(directory, "six", A) == {str(INNER)}  # another network has one
    assert told(directory, "six", A, on("f")) == set()
    assert told(directory, "nobody", MX) is None


def test_other_types_and_classes_are_asked_outside(directory: Directory) -> None:
    assert told(directory, "web", TXT) is None
    assert told(directory, "web", SRV) is None
    assert answer(asked("web", klass=3), WHO, directory, random.Random(1).random, 512) is None


def test_an_address_leads_to_its_container_with_the_networks_name(directory: Directory) -> None:
    assert told(directory, "4.1.0.10.in-addr.arpa", PTR) <= {"web.2.x.Front.net.", "dot.ted.Front.net."}  # type: ignore[operator]
    assert told(directory, "3.2.0.10.IN-ADDR.arpa", PTR) == {"both.2.y.back."}
    six = ".".join(reversed(SIX.exploded.replace(":", ""))) + ".ip6.arpa"
    assert told(directory, six, PTR) == {"six.Front.net."}
    assert told(directory, "9.1.0.10.in-addr.arpa", PTR) is None  # a virtual IP is no container's
    assert told(directory, "3.3.0.10.in-addr.arpa", PTR) is None  # on a network that the asker is not on
    assert told(directory, "web", PTR) is None


def test_a_name_that_stands_in_no_record_is_not_told() -> None:
    directory = filled(("f", EndpointRecord("x" * 64, ONE)))
    assert told(directory, "3.1.0.10.in-addr.arpa", PTR) is None


def test_with_ndots_a_name_of_one_label_stays_inside(directory: Directory) -> None:
    who = on("f", ndots_set=True)
    assert told(directory, "nobody", who=who) == told(directory, "nobody", AAAA, who) == set()
    assert told(directory, "nobody.example", who=who) is None
    assert told(directory, "nobody", MX, who) is None


def test_an_unknown_version_of_edns_is_told() -> None:
    reply = answer(asked("web", size=1232, version=1), WHO, Directory(), random.Random(1).random, 512)
    assert reply
    assert DNSRecord.parse(reply).ar[0].ttl >> 24 == 1


def test_only_internal_networks_lead_nowhere_outside() -> None:
    assert not on("b").forward
    assert not on("b", "i").forward
    assert on("b", "f").forward
    assert on().forward
    assert WHO.networks == ("f", "b")
    assert WHO.servers == ("192.0.2.1",)


MANY = [ip_address(f"10.1.{n // 256}.{n % 256 + 1}") for n in range(0, 5000, 20)]


@pytest.fixture(scope="module")
def crowd() -> Directory:
    return filled(*(("f", EndpointRecord(f"m.{at}", one, "s", "many")) for at, one in enumerate(MANY)))


@pytest.mark.parametrize(("size", "fits"), [(0, 30), (512, 29), (1232, 74), (4096, 250)])
def test_a_reply_by_udp_is_cut_off_where_the_asker_takes_no_more(crowd: Directory, size: int, fits: int) -> None:
    question = asked("many", size=size)
    reply = answer(question, WHO, crowd, random.Random(1).random, question.size)
    assert reply
    assert len(reply) <= max(size, 512)
    theirs = DNSRecord.parse(reply)
    assert len(theirs.rr) == fits
    assert bool(theirs.header.tc) == (fits < 250)
    assert {str(one.rdata) for one in theirs.rr} <= {str(one) for one in MANY}


def test_a_reply_by_tcp_has_all(crowd: Directory) -> None:
    assert told(crowd, "tasks.many", limit=TCP_LIMIT) == {str(one) for one in MANY}


def test_answers_are_shuffled(crowd: Directory) -> None:
    rng = random.Random(5)
    firsts = set()
    for _ in range(100):
        reply = answer(asked("many"), WHO, crowd, rng.random, 512)
        assert reply
        firsts.add(str(DNSRecord.parse(reply).rr[0].rdata))
    assert len(firsts) > 50


@given(st.text("abc.0123456789-_", max_size=60), st.sampled_from([A, AAAA, MX, PTR, TXT, 255]), st.booleans())
def test_any_name_is_answered_or_asked_outside(name: str, kind: int, ndots_set: bool) -> None:
    found = Question(bytes(30), 1, 0, b"\0\0\1\0\1", kind, name.strip(".").replace("..", ".") or None)
    answer(found, on("f", ndots_set=ndots_set), Directory(), random.Random(1).random, 512)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_any_address_is_read_backwards(address: object) -> None:
    assert reversed_address(address.reverse_pointer) == address  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name",
    [
        "in-addr.arpa",
        "1.2.3.in-addr.arpa",
        "0.1.2.3.4.in-addr.arpa",
        "01.2.3.4.in-addr.arpa",
        "256.1.1.1.in-addr.arpa",
        "²3.1.1.1.in-addr.arpa",
        "9999999999.1.1.1.in-addr.arpa",
        "x.1.1.1.in-addr.arpa",
        "1.ip6.arpa",
        ".".join("g" * 32) + ".ip6.arpa",
        "4.3.2.1.in-addr.arpa.net",
    ],
)
def test_what_is_no_whole_address_backwards(name: str) -> None:
    assert reversed_address(name) is None


def test_a_reply_is_remembered_until_the_directory_changes() -> None:
    directory = filled(("f", EndpointRecord("web", ONE)), ("f", EndpointRecord("two", ONE, task_aliases=("web2",))))
    remembered = Remembered()

    def asking(name: str, number: int = 7, kind: int = A) -> tuple[bytes | None, bytes | None]:
        message = number.to_bytes(2, "big") + asked(name, kind).message[2:]
        known = remembered.get(message, directory)
        found = read(message)
        assert isinstance(found, Question)
        reply = answer(found, WHO, directory, random.Random(1).random, found.size)
        if reply and not known:
            remembered.keep(message, reply)
        return known, reply

    known, reply = asking("web")
    assert known is None
    assert asking("web", 99) == (b"\0\x63" + reply[2:], b"\0\x63" + reply[2:])  # type: ignore[index]
    assert asking("web", kind=AAAA)[0] is None
    known, reply = asking("web", kind=AAAA)  # empty, and remembered as such
    assert known == reply
    assert asking("WEB")[0] is None  # a reply repeats the question as it was asked
    before = directory.generation
    directory.apply([Changed(ENDPOINTS, "f", "0", "node", None, EndpointRecord("web", TWO).encode())])
    assert directory.generation > before
    known, reply = asking("web")
    assert known is None
    assert TWO.packed in (reply or b"")
    directory.set_overlays([INGRESS, replace(FRONT, ingress=True)])
    assert asking("web")[0] is None
    directory.set_overlays(OVERLAYS)
    asking("web")
    directory.forget("f")
    assert asking("web") == (None, None)


def test_shuffled_and_cut_off_replies_are_not_remembered(crowd: Directory) -> None:
    remembered = Remembered()
    for size in (0, 4096):
        question = asked("many", size=size)
        assert remembered.get(question.message, crowd) is None
        reply = answer(question, WHO, crowd, random.Random(1).random, question.size)
        assert reply
        remembered.keep(question.message, reply)
        assert remembered.get(question.message, crowd) is None


def test_no_more_is_remembered_than_a_few_names(directory: Directory) -> None:
    remembered = Remembered()
    for number in range(1000):
        remembered.get(b"xx%d" % number, directory)
        remembered.keep(b"xx%d" % number, bytes(12))
    assert len(remembered._replies) <= 256
    assert remembered.get(b"yy999", directory) == b"yy" + bytes(10)
