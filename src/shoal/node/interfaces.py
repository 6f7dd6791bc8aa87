"""Lists this host's network interfaces by `ip`, and finds the address that it uses to reach another host."""

import asyncio
import ipaddress
import socket

from shoal import spawning
from shoal.errors import ShoalError
from shoal.host import programs
from shoal.json_text import read_json
from shoal.node.addresses import Interface


async def list_interfaces() -> list[Interface]:
    """Return the interfaces of this network namespace, in the kernel's order. Raises ShoalError if `ip` fails."""
    process = await spawning.start(
        programs.find("ip"),
        "-json",
        "-details",
        "address",
        "show",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise ShoalError(f"ip address show: {errors.decode(errors='replace').strip()}")
    return [
        Interface(
            name=link["ifname"],
            up="UP" in link["flags"],
            loopback="LOOPBACK" in link["flags"],
            physical="info_kind" not in link.get("linkinfo", {}) and "LOOPBACK" not in link["flags"],
            addresses=tuple(
                ipaddress.ip_address(address["local"]) for address in link["addr_info"] if "local" in address
            ),
        )
        for link in read_json(output)
        if "ifname" in link
    ]


async def address_towards(host: str, port: int) -> str:
    """Return the address that this host uses to reach another. Sends nothing. Raises ShoalError."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        family, kind, _, _, address = found[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ShoalError(f"could not find local IP address: dial udp {host}:{port}: {reason}") from error
