"""The texts of a container's /etc/hosts, /etc/hostname and /etc/resolv.conf. Pure."""

import ipaddress
from collections.abc import Iterable

# The first lines of Docker's file: moby daemon/libnetwork/etchosts.
_LOCAL = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)

# Docker's choice if a container can reach none of the host's servers (libnetwork/internal/resolvconf).
FALLBACK_DNS = ("8.8.8.8", "8.8.4.4")


def hosts(
    hostname: str,
    domainname: str,
    addresses: Iterable[str],
    extra: Iterable[tuple[str, tuple[str, ...]]],
    base: str | None = None,
) -> str:
    """Return the text of /etc/hosts. `base`: the host's own file, for a container on the host's network."""
    lines = [base.rstrip("\n")] if base is not None else [f"{one}\t{names}" for one, names in _LOCAL]
    lines += [f"{one}\t{' '.join(names)}" for one, names in extra]
    # The whole name and its first label, as in libnetwork's buildHostsFile.
    whole = f"{hostname}.{domainname}" if domainname else hostname
    label, dot, _ = whole.partition(".")
    lines += [f"{address}\t{whole}{f' {label}' if dot else ''}" for address in addresses]
    return "\n".join(lines) + "\n"


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return True  # not an address, so no container could ask it


def has_only_loopback(host: str) -> bool:
    """Return whether the host's resolv.conf only names servers on its own loopback (systemd-resolved, dnsmasq)."""
    servers = [line.split()[1] for line in host.splitlines() if line.split()[:1] == ["nameserver"] and line.split()[1:]]
    return bool(servers) and all(_is_loopback(server) for server in servers)


def resolv_conf(
    host: str,
    servers: Iterable[str] = (),
    search: Iterable[str] = (),
    options: Iterable[str] = (),
    *,
    keep_loopback: bool = False,
) -> str:
    """Return the text of /etc/resolv.conf: the host's, with the given servers, search list and options instead.

    `keep_loopback`: for a container on the host's network, which can reach the host's loopback.
    """
    own_servers: list[str] = []
    own_search: list[str] = []
    own_options: list[str] = []
    for line in host.splitlines():
        words = line.split("#")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            own_servers.append(words[1])
        elif words[0] in ("search", "domain"):
            own_search = words[1:]
        elif words[0] == "options":
            own_options += words[1:]
    chosen = list(servers) or [one for one in own_servers if keep_loopback or not _is_loopback(one)]
    if not chosen and not keep_loopback:
        chosen = list(FALLBACK_DNS)
    searched = list(search) or own_search
    opted = list(options) or own_options
    lines = [f"nameserver {server}" for server in chosen]
    # "." means no search list (docker run --dns-search=.).
    if searched and searched != ["."]:
        lines.append("search " + " ".join(searched))
    if opted:
        lines.append("options " + " ".join(opted))
    return "\n".join(lines) + "\n"
