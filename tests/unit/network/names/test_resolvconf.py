"""A container's resolv.conf on an overlay."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.network.names.resolvconf import hosts_addresses, ndots_chosen, ndots_set, parse, resolv_conf, upstream
from shoal.network.wanted import Endpoint, Overlay, Sandbox

HOST = "# mine\nnameserver 10.0.0.2\nnameserver fe80::1%eth0 # a comment\nsearch example.com corp\noptions timeout:1\n"


def test_a_container_asks_127_0_0_11_and_keeps_what_else_the_host_says() -> None:
    """As docker run --network of 20.10 and 28 writes it, but for the comments."""
    assert resolv_conf(HOST) == "nameserver 127.0.0.11\nsearch example.com corp\noptions timeout:1 ndots:0\n"
    assert resolv_conf("") == "nameserver 127.0.0.11\noptions ndots:0\n"


def test_what_was_asked_for_takes_the_hosts_place() -> None:
    assert resolv_conf(HOST, ["a.b"], ["ndots:2"]) == "nameserver 127.0.0.11\nsearch a.b\noptions ndots:2\n"
    assert resolv_conf(HOST, ["."]) == "nameserver 127.0.0.11\noptions timeout:1 ndots:0\n"


def test_ndots_of_anybodys_choice_is_one() -> None:
    assert ndots_set(["timeout:1", "ndots:0"])
    assert not ndots_set(["ndotsy", "timeout:1"])


def test_a_containers_options_take_the_place_of_the_hosts_for_ndots_too() -> None:
    assert ndots_chosen("options ndots:2\n")
    assert ndots_chosen(HOST, ["ndots:2"])
    assert not ndots_chosen(HOST)
    assert not ndots_chosen("options ndots:2\n", ["timeout:1"])


def test_who_is_asked_outside() -> None:
    assert parse(HOST).servers == ("10.0.0.2", "fe80::1%eth0")
    servers = ["127.0.0.11", "127.0.0.53", "10.0.0.2", "10.0.0.2", "fe80::1%eth0", "example.com"]
    assert upstream(servers) == ("127.0.0.53", "10.0.0.2", "fe80::1%eth0")


def test_the_host_name_stands_beside_the_addresses_of_all_networks_but_ingress() -> None:
    overlays = [Overlay("i", "ingress", (), ingress=True), Overlay("n", "net", ()), Overlay("m", "other", ())]
    endpoints = tuple(
        Endpoint("e", network, f"10.0.{at}.5/24", "", "", address6=f"fd00:{at}::5/64" if at == 1 else "")
        for at, network in enumerate("inm")
    )
    assert hosts_addresses(Sandbox("c", "c", "/n", endpoints), overlays) == ("10.0.1.5", "fd00:1::5", "10.0.2.5")


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    conf = parse(text)
    upstream(conf.servers)
    assert resolv_conf(text).startswith("nameserver 127.0.0.11\n")
