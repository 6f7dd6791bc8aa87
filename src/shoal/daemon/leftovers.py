"""Finds bridges on this host whose daemon's data root is gone. Nobody uses them, and each takes a subnet.

In: the bridges of other daemons, from the kernel. Out: the ownerless ones, and the commands that remove them. Nothing
is removed here; a log line asks the user to do it. A bridge has an owner while its daemon runs, or while the data root
that it names still has the daemon's id.
"""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from shoal.network.bridge import OtherBridge
from shoal.runtime.cgroups import Cgroups

log = logging.getLogger(__name__)

ENGINE_ID_FILE = "engine-id"


def tell(bridges: Iterable[OtherBridge]) -> None:
    """Log each bridge without an owner. Blocks while it reads a few files."""
    for bridge in ownerless(bridges, lambda tag: Cgroups(tag).is_claimed()):
        log.warning(
            "the bridge %s is left of a shoald whose data root %s is gone (%s of its containers are connected). "
            "Remove it by: %s",
            bridge.name, bridge.data_root, bridge.ports, command(bridge),
        )  # fmt: skip


def ownerless(bridges: Iterable[OtherBridge], alive: Callable[[str], bool]) -> list[OtherBridge]:
    """Return the bridges whose data root and daemon are gone. One that names no data root may still have an owner."""
    return [
        bridge
        for bridge in bridges
        if bridge.data_root and not _is_home(Path(bridge.data_root), bridge.tag) and not alive(bridge.tag)
    ]


def owned(tag: str, bridge: OtherBridge | None) -> bool:
    """Return whether somebody still answers for what a daemon made on this host, of which it may have no bridge."""
    if bridge is None:
        return Cgroups(tag).is_claimed()
    return not ownerless([bridge], lambda other: Cgroups(other).is_claimed())


def command(bridge: OtherBridge) -> str:
    """Return the command that removes a bridge. Its packet rules go by themselves when no container is on it."""
    return f"ip link delete {bridge.name}"


def _is_home(root: Path, tag: str) -> bool:
    try:
        return (root / ENGINE_ID_FILE).read_text().strip().replace("-", "")[:8] == tag
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True  # the file exists but cannot be read now
