"""Encrypted overlays between two hosts: what passes the wire, whose keys change, and what never passes in the clear.

The kernel of most tests has no ESP. Where it lacks it, the refusal is what is tested; script/test-vm runs the rest.
"""

import dataclasses
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from shoal.network.encryption.encrypter import Encrypter
from shoal.network.encryption.wanted import MARK, Encryption, Policy, encryption
from shoal.network.kernel.state import OverlayState
from shoal.network.wanted import Key
from tests.cluster.test_overlays import apply, state
from tests.harness.hosts import eventually, run
from tests.harness.overlay_hosts import OverlayHost, Servers, ask, overlay_hosts

pytestmark = pytest.mark.root

KEYS = [Key("networking:ipsec", f"{number:032x}", number) for number in (7, 8, 9)]
LATER = [*KEYS[1:], Key("networking:ipsec", f"{10:032x}", 10)]


def kernel_has_esp() -> bool:
    """Ask by the program `ip`, in a namespace of its own."""
    name = "shoal-esp"
    run("ip", "netns", "add", name)
    try:
        words = "xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode transport aead rfc4106(gcm(aes))"
        return run("ip", "-n", name, *words.split(), f"0x{'00' * 20}", "64", check=False).returncode == 0
    finally:
        run("ip", "netns", "del", name)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[OverlayHost]]:
    with overlay_hosts(2, tmp_path_factory.mktemp("e")) as made:
        yield made


def encrypter(host: OverlayHost) -> Encrypter:
    return host.do(lambda: Encrypter(host.folder / "probe", host.tag, host.namespaces, host.nftables))


def encrypted(made: OverlayState) -> OverlayState:
    return dataclasses.replace(made, encrypted=True, mtu=1424)


def encrypt(host: OverlayHost, by: Encrypter, made: OverlayState, keys: list[Key]) -> Encryption:
    wanted = encryption([made], keys, host.address)
    host.do(lambda: by.prepare(wanted))
    assert apply(host, made) == []
    host.do(lambda: by.finish(wanted))
    return wanted


def test_this_host_says_whether_it_can_encrypt(hosts: list[OverlayHost]) -> None:
    by = encrypter(hosts[0])
    if kernel_has_esp():
        # A kernel that is slow to load the cipher's modules lacks it at first; it is asked again each time.
        eventually(lambda: not hosts[0].do(by.lacking), "it can")
    else:
        assert hosts[0].do(by.lacking).startswith("this kernel has no ESP with AES-GCM (")
    assert list((hosts[0].folder).glob("probe")) == []


def test_policies_and_rules_are_as_ip_and_nft_show_them(hosts: list[OverlayHost]) -> None:
    """Of these no kernel that has XFRM lacks any part."""
    host, by, peer = hosts[0], encrypter(hosts[0]), IPv4Address("10.98.0.9")
    policy = Policy(host.address, peer, 4789, 0x640767A3)
    wanted = Encryption(host.address, 4789, frozenset({4097}), frozenset(), frozenset({policy}))
    host.do(lambda: by.prepare(wanted))
    host.do(lambda: by.finish(wanted))
    words = (
        f"src {host.address}/32 dst {peer}/32 proto udp dport 4789 dir out priority 0 mark {MARK:#x}/0xffffffff "
        f"tmpl src {host.address} dst {peer} proto esp spi 0x640767a3 reqid {MARK} mode transport"
    )
    # Kernels that have two sorts of policies name them.
    shown = run("ip", "-n", host.name, "xfrm", "policy").stdout.replace("ptype main", "")
    assert shown.split() == words.split()
    table = run("ip", "netns", "exec", host.name, "nft", "list", "table", "inet", f"shoal_{host.tag}_esp").stdout
    assert table.count("udp dport 4789") == 3
    moved = dataclasses.replace(policy, spi=5)
    changed = dataclasses.replace(wanted, policies=frozenset({moved}))
    host.do(lambda: by.prepare(changed))
    host.do(lambda: by.finish(changed))
    assert "spi 0x00000005" in run("ip", "-n", host.name, "xfrm", "policy").stdout
    again = encrypter(host)  # another program, that finds what this one left
    host.do(lambda: again.prepare(Encryption(host.address)))
    host.do(lambda: again.finish(Encryption(host.address)))
    assert run("ip", "-n", host.name, "xfrm", "policy").stdout == ""
    assert "esp" not in run("ip", "netns", "exec", host.name, "nft", "list", "tables").stdout


def test_what_no_policy_encrypts_does_not_leave_nor_what_came_in_the_clear_enter(hosts: list[OverlayHost]) -> None:
    one, two = hosts
    a, b = one.sandbox("ga"), two.sandbox("gb")
    here = encrypted(state(one, {"10.0.1.5/24": a}, {"10.0.1.6/24": two}))
    assert apply(one, here) == []
    assert apply(two, encrypted(state(two, {"10.0.1.6/24": b}, {"10.0.1.5/24": one}))) == []
    by = {host: encrypter(host) for host in hosts}
    guard = {host: Encryption(host.address, 4789, frozenset({4097})) for host in hosts}
    with Servers() as servers:
        servers.add(two, b, "b")
        assert ask(one, a, "10.0.1.6") == "b"
        for host in hosts:  # the sender alone, then the receiver alone
            host.do(lambda host=host: by[host].prepare(guard[host]))  # type: ignore[misc]
            with pytest.raises(OSError, match=r"No route to host|timed out"):
                ask(one, a, "10.0.1.6", timeout=1)
            host.do(lambda host=host: by[host].finish(Encryption(host.address)))  # type: ignore[misc]
        assert ask(one, a, "10.0.1.6") == "b"
    for host in hosts:
        assert apply(host) == []


def frames(host: OverlayHost) -> socket.socket:
    """Hear all that passes a host's card."""

    def open_one() -> socket.socket:
        heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        heard.bind(("eth0", 0))
        heard.setblocking(False)
        return heard

    return host.do(open_one)


def protocols(heard: socket.socket) -> set[int]:
    """Return the IP protocols of what was heard."""
    found: set[int] = set()
    while True:
        try:
            frame = heard.recv(65536)
        except BlockingIOError:
            return found
        if frame[12:14] == b"\x08\x00":
            found.add(frame[14 + 9])


def test_packets_are_encrypted_and_keys_rotate_under_a_connection(hosts: list[OverlayHost]) -> None:
    if not kernel_has_esp():
        pytest.skip("this kernel has no ESP with AES-GCM; script/test-vm runs this test")
    one, two = hosts
    a, b = one.sandbox("ea"), two.sandbox("eb")
    states = {
        one: encrypted(state(one, {"10.0.1.5/24": a}, {"10.0.1.6/24": two})),
        two: encrypted(state(two, {"10.0.1.6/24": b}, {"10.0.1.5/24": one})),
    }
    by = {host: encrypter(host) for host in hosts}
    for host in hosts:
        encrypt(host, by[host], states[host], KEYS)
    shown = run("ip", "-n", one.name, "xfrm", "state").stdout
    assert shown.count("aead rfc4106(gcm(aes))") == 4
    with Servers() as servers, frames(two) as heard:
        servers.add(two, b, "b")
        assert ask(one, a, "10.0.1.6") == "b"
        assert protocols(heard) == {50}  # ESP, and no UDP
        for host in hosts:  # one is behind the other for a while
            encrypt(host, by[host], states[host], LATER)
            assert ask(one, a, "10.0.1.6") == "b"
        assert protocols(heard) == {50}
        assert run("ip", "-n", one.name, "xfrm", "state").stdout.count("aead") == 4
        # A node with other keys is not understood, and does not understand.
        strange = [dataclasses.replace(key, key="f" * 32) for key in LATER]
        encrypt(one, by[one], states[one], strange)
        with pytest.raises(OSError, match=r"No route to host|timed out"):
            ask(one, a, "10.0.1.6", timeout=1)
    for host in hosts:
        assert apply(host) == []
        host.do(lambda host=host: by[host].finish(Encryption(host.address)))  # type: ignore[misc]
        assert run("ip", "-n", host.name, "xfrm", "state").stdout == ""
