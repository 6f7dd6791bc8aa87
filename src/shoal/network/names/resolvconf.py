"""What a container on an overlay finds in /etc/resolv.conf, whom we ask for it, and its addresses for /etc/hosts. Pure.

Source: libnetwork's internal/resolvconf (TransformForIntNS) and sandbox_dns_unix.go.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shoal.network.wanted import Overlay, Sandbox

SERVER = "127.0.0.11"


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What a resolv.conf says."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse(text: str) -> ResolvConf:
    """Read a resolv.conf; what is none is left out, as resolvers do."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = words[1:]
        elif words[0] == "options":
            options += words[1:]
    return ResolvConf(tuple(servers), tuple(search), tuple(options))


def upstream(servers: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses that can be asked for a container: not ours, which would be a circle, and each once.

    The host's own loopback is among them where it has a resolver there: it is asked from the host's namespace.
    """
    found = []
    for server in servers:
        try:
            address = ipaddress.ip_address(server.partition("%")[0])
        except ValueError:
            continue
        if str(address) != SERVER:
            found.append(server)
    return tuple(dict.fromkeys(found))


def ndots_set(options: Iterable[str]) -> bool:
    """Return whether somebody chose `ndots`: then names of one label stay inside (see `answers`)."""
    return any(option.partition(":")[0] == "ndots" for option in options)


def ndots_chosen(host: str, options: Sequence[str] = ()) -> bool:
    """Return whether a container's resolv.conf has `ndots` of somebody's choice: its own options, else the host's."""
    return ndots_set(tuple(options) or parse(host).options)


def resolv_conf(host: str, search: Sequence[str] = (), options: Sequence[str] = ()) -> str:
    """Return a container's /etc/resolv.conf. `host`: the host's; the others: what was asked for in its place."""
    own = parse(host)
    searched = tuple(search) or own.search
    opted = tuple(options) or own.options
    lines = [f"nameserver {SERVER}"]
    # "." is how a person asks for no search at all (docker run --dns-search=.).
    if searched and searched != (".",):
        lines.append("search " + " ".join(searched))
    # Without ndots:0 a resolver would try its search list first for `web`, outside.
    lines.append("options " + " ".join((*opted, *(() if ndots_set(opted) else ("ndots:0",)))))
    return "\n".join(lines) + "\n"


def hosts_addresses(sandbox: Sandbox, overlays: Iterable[Overlay]) -> tuple[str, ...]:
    """Return the addresses that stand beside the container's host name in /etc/hosts: on all networks but ingress."""
    named = {overlay.id for overlay in overlays if not overlay.ingress}
    both = ((one.address, one.address6) for one in sandbox.endpoints if one.network in named)
    return tuple(address.partition("/")[0] for pair in both for address in pair if address)
