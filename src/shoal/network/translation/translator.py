"""Makes the device that translates, and takes it away. Blocking; to be used in the host's network namespace."""

import errno
import hashlib
import os
from functools import cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network

from shoal.errors import ShoalError
from shoal.network import neighbours, rtnetlink
from shoal.network.netlink import NetlinkSocket
from shoal.network.sysctls import set_sysctl
from shoal.network.translation import bpf, forwarding, traffic
from shoal.network.translation.places import Place
from shoal.network.translation.program import program

# Nothing is cut in pieces on its way to the program.
_MTU = 65535
# The header of IPv6 is longer by 20 bytes: who sends too long a datagram is told here.
_ROUTE_MTU = 1480
# Answers to a program of this host that asked ::1 come in by the device; the kernel takes them there only by a route of
# its own. All others find the loopback first.
_LOOPBACK, _AFTER = IPv6Address("::1"), 4096


@cache
def _code(place: Place) -> bytes:
    return program(place)


def make(place: Place) -> None:
    """Make it, unless it stands. ShoalError, OSError: what is half done is made anew by the next call."""
    code = _code(place)
    alias = f"translation {hashlib.sha256(code).hexdigest()[:16]}"
    with NetlinkSocket() as kernel:
        link = kernel.link(place.device)
        if link is None or not link.up or link.alias != alias:
            if link is not None:
                kernel.delete_link(link.index)
            _make(kernel, place, code, alias)
    forwarding.forward()


def _make(kernel: NetlinkSocket, place: Place, code: bytes, alias: str) -> None:
    kernel.run(rtnetlink.add_bridge(place.device))
    link = kernel.link(place.device)
    if link is None:
        raise ShoalError(f"the interface {place.device} is gone as soon as it was made")
    for name, value in (("accept_ra", "0"), ("accept_redirects", "0"), ("autoconf", "0"), ("disable_ipv6", "0")):
        set_sysctl(f"ipv6/conf/{place.device}/{name}", value)
    set_sysctl(f"ipv4/conf/{place.device}/rp_filter", "2")
    descriptor = bpf.load(code, place.device)
    try:
        kernel.run(rtnetlink.keep_mac(link), rtnetlink.set_mtu(link.index, _MTU), traffic.add_room(link.index))
        kernel.run(traffic.set_program(link.index, descriptor, place.device))
    finally:
        os.close(descriptor)
    kernel.run(
        neighbours.set_neighbour(neighbours.Neighbour(link.index, place.client, link.mac)),
        neighbours.set_neighbour(neighbours.Neighbour(link.index, place.host6, link.mac)),
        rtnetlink.add_device_route(IPv4Network(place.client), link.index, mtu=_ROUTE_MTU),
        rtnetlink.add_device_route(IPv6Network(place.host6), link.index),
        rtnetlink.add_local_route(_LOOPBACK, link.index, _AFTER),
        rtnetlink.finish(link.index, alias),
    )


def stands(device: str) -> bool:
    """Return whether a device is there, made to the end or not."""
    with NetlinkSocket() as kernel:
        return kernel.link(device) is not None


def remove(device: str) -> None:
    """Take it away. May be repeated. OSError."""
    with NetlinkSocket() as kernel:
        link = kernel.link(device)
        if link is not None:
            try:
                kernel.delete_link(link.index)
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise
