"""Has this host forward packets of IPv6, and go on learning its own routes from routers. Blocking, for a moment.

A host that forwards takes no router's word any more, and forgets what it has learned, unless it is told that it shall
(accept_ra = 2; the kernel's ip-sysctl.rst). Those of its interfaces that listened to routers are told so before.
"""

from pathlib import Path

from shoal.network.sysctls import set_sysctl

_INTERFACES = Path("/proc/sys/net/ipv6/conf")


def available() -> bool:
    """Return whether this host has IPv6, and uses it."""
    return _read("all", "disable_ipv6") == "0"


def forward() -> None:
    """Switch it on. May be repeated. ShoalError."""
    if _read("all", "forwarding") == "1":
        return
    # Those that come meanwhile are made as `default` says.
    for name in ("default", *sorted(folder.name for folder in _INTERFACES.iterdir())):
        if name != "all" and _listens(name):
            set_sysctl(f"ipv6/conf/{name}/accept_ra", "2")
    set_sysctl("ipv6/conf/all/forwarding", "1")


def _listens(interface: str) -> bool:
    """Return whether routers are listened to on an interface; `default` is each that will come."""
    return _read(interface, "accept_ra") == "1" and _read(interface, "forwarding") == "0"


def _read(interface: str, name: str) -> str:
    try:
        return (_INTERFACES / interface / name).read_text().strip()
    except OSError:
        return ""  # it went meanwhile
