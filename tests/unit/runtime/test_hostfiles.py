"""The three files of /etc that a container gets."""

import pytest

from shoal.runtime.hostfiles import has_only_loopback, hosts, resolv_conf

HOST = "# made by hand\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch example.org\noptions edns0\n"


def test_hosts_name_the_container_and_what_was_asked_for() -> None:
    text = hosts("box", "example.org", ("172.18.0.2", "10.0.1.5"), (("10.0.0.1", ("one", "eins")),))
    assert text.startswith("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
    assert text.endswith("10.0.0.1\tone eins\n172.18.0.2\tbox.example.org box\n10.0.1.5\tbox.example.org box\n")


@pytest.mark.parametrize(
    ("hostname", "domainname", "names"),
    [
        ("box", "", "box"),
        ("node1.example.com", "", "node1.example.com node1"),
        ("node1", "example.com", "node1.example.com node1"),
        ("node1.example", "com", "node1.example.com node1"),
    ],
)
def test_a_name_with_dots_is_there_whole_and_by_its_first_label(hostname: str, domainname: str, names: str) -> None:
    assert hosts(hostname, domainname, ("172.18.0.2",), ()).endswith(f"\n172.18.0.2\t{names}\n")


def test_on_the_hosts_network_hosts_begins_with_the_hosts_own() -> None:
    assert hosts("box", "", (), (("10.0.0.1", ("one",)),), "127.0.0.1 me\n\n") == "127.0.0.1 me\n10.0.0.1\tone\n"


def test_loopback_servers_are_out_of_reach() -> None:
    assert resolv_conf(HOST) == "nameserver 9.9.9.9\nsearch example.org\noptions edns0\n"
    assert resolv_conf("nameserver ::1\n") == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    assert resolv_conf("nameserver 127.0.0.53\n", keep_loopback=True) == "nameserver 127.0.0.53\n"


def test_what_was_asked_for_takes_the_place_of_the_hosts() -> None:
    text = resolv_conf(HOST, ("1.1.1.1",), (".",), ("ndots:2",))
    assert text == "nameserver 1.1.1.1\noptions ndots:2\n"


def test_a_stub_resolver_is_known() -> None:
    assert has_only_loopback("nameserver 127.0.0.53\n")
    assert not has_only_loopback(HOST)
    assert not has_only_loopback("")
