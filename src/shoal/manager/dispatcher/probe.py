"""Probes a host by a TCP connection. Any answer of its kernel counts, also a refusal.

Nothing is sent on the connection. A host without a route, or without any reply, did not answer.
"""

import asyncio
import socket

PORT = 7946
"""The port of gossip. The nodes of a swarm must reach each other on it, so firewalls between them let it through."""


def target_of(node_address: str, manager_address: str) -> tuple[str, int] | None:
    """Return host and port to probe a node at, for a manager its manager port. None if no address is known."""
    if manager_address:
        host, _, port = manager_address.rpartition(":")
        return (host.strip("[]"), int(port)) if port.isdigit() else None
    return (node_address, PORT) if node_address else None


async def host_answers(host: str, port: int, patience: float) -> bool:
    """Return whether the host answers within `patience` seconds."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            async with asyncio.timeout(patience):
                await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    return True
