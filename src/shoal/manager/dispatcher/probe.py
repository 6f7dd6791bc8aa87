"""Asks a host's kernel whether it is there: any answer to a connection, a refusal too, says so.

Nothing is sent on a connection that opens. A host that cannot be routed to, and one that says nothing, did not answer.
"""

import asyncio
import socket

PORT = 7946
"""That of gossip, which nodes of a swarm have to reach on each other: what a firewall between them lets through."""


def target_of(node_address: str, manager_address: str) -> tuple[str, int] | None:
    """Return where a node is to be probed; a manager where it is one. None where no address is known."""
    if manager_address:
        host, _, port = manager_address.rpartition(":")
        return (host.strip("[]"), int(port)) if port.isdigit() else None
    return (node_address, PORT) if node_address else None


async def host_answers(host: str, port: int, patience: float) -> bool:
    """Return whether anything answers within so many seconds."""
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
