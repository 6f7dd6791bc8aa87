"""Published ports in short form: `[[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL]`, each a number or a range."""

import ipaddress
import re
from typing import Any

_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?\Z")
PROTOCOLS = ("tcp", "udp", "sctp")


class BadPort(ValueError):
    """A text is no published port; the text says why."""


def split(text: str) -> list[dict[str, Any]]:
    """Return the ports of one text in long form, one for each target. Raises BadPort."""
    rest, _, protocol = text.rpartition("/") if "/" in text else (text, "", "tcp")
    protocol = protocol.lower()
    if protocol not in PROTOCOLS:
        raise BadPort(f"{protocol!r} is no protocol: {', '.join(PROTOCOLS)}")
    address, published, target = _parts(rest)
    if address:
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise BadPort(f"{address!r} is no address of the host") from error
    first, last = _range(target)
    made: dict[str, Any] = {"mode": "ingress", "host_ip": address, "protocol": protocol}
    if not address:
        del made["host_ip"]
    if not published:
        return [{**made, "target": port} for port in range(first, last + 1)]
    low, high = _range(published)
    if first == last and low != high:  # any port of that range
        return [{**made, "target": first, "published": f"{low}-{high}"}]
    if high - low != last - first:
        raise BadPort(f"{published} and {target} are ranges of different lengths")
    return [{**made, "target": first + step, "published": str(low + step)} for step in range(last - first + 1)]


def _parts(text: str) -> tuple[str, str, str]:
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise BadPort("after the address in brackets come ports: [::1]:8080:80")
        parts = [address, *rest[1:].split(":")]
        if len(parts) == 2:
            parts = [address, "", parts[1]]
    else:
        parts = text.rsplit(":", 2) if text.count(":") > 2 else text.split(":")
    target = parts[-1]
    published = parts[-2] if len(parts) > 1 else ""
    return parts[-3] if len(parts) > 2 else "", published, target


def _range(text: str) -> tuple[int, int]:
    found = _RANGE.match(text)
    if found is None:
        raise BadPort(f"{text!r} is no port and no range of ports" if text else "there is no port of the container")
    first = int(found.group(1))
    last = int(found.group(2) or first)
    if last > 65535 or first > last:
        raise BadPort(f"{text!r} is no port and no range of ports up to 65535")
    return first, last
