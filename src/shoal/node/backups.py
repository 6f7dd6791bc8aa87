"""Saves a manager to a file, and makes a host that manager again.

In: a manager's store and identity, or a backup that was checked. Out: a file, or the swarm's folder.
`docker-state.json` is written last; without it the next start removes the rest. A backup has no addresses, because they
are the host's. The settings of `swarm init` are in the swarm's objects.
"""

import asyncio
import re
from typing import BinaryIO

from shoal import __version__
from shoal.api import v1 as api
from shoal.ca.identity import Identity, InvalidCertificate, identity_of, read_chain
from shoal.ca.node_files import NodeFiles
from shoal.ca.security import SecurityConfig
from shoal.errors import NoLeader, Unavailable
from shoal.files import write_atomic
from shoal.manager.port.guard import NO_LEADER
from shoal.node import founding, state
from shoal.node.state import NodeState
from shoal.paths import Paths
from shoal.store import backup
from shoal.store.backup import Backup
from shoal.store.backup_file import About, DamagedBackup, Summary
from shoal.store.etcd_client import EtcdClient

# An id in a certificate becomes an argument of etcd, and part of the log. Swarm's have 25 letters and digits.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


async def save(etcd: EtcdClient, security: SecurityConfig, hostname: str, file: BinaryIO) -> Summary:
    """Write a backup to an empty file. Raises OSError, and Unavailable with Docker's text without a quorum."""
    about = About(
        version=0,
        taken_at=0.0,
        cluster_id=security.cluster_id,
        node_id=security.node_id,
        hostname=hostname,
        made_by=__version__,
        is_locked=security.kek is not None,
    )
    try:
        return await backup.save(etcd, file, files=security.files(), about=about)
    except NoLeader as error:
        raise Unavailable(NO_LEADER) from error


async def place(paths: Paths, found: Backup, node_state: NodeState) -> Identity:
    """Make the swarm's folder from a backup, and return the node's identity. It may be interrupted at any point.

    Raises DamagedBackup, FailedPrecondition, OSError, and what starting an etcd raises.
    """
    files = NodeFiles(founding.certificates(paths))
    try:
        root, chain, key = (found.files[path.name] for path in (files.root, files.certificate, files.key))
        identity = identity_of(read_chain(chain)[0])
    except (KeyError, InvalidCertificate) as error:
        raise DamagedBackup("this backup does not say which manager made it") from error
    if not all(_ID.fullmatch(name) for name in (identity.node_id, identity.organization)):
        raise DamagedBackup("this backup's manager has a name that no node has")
    if identity.role != api.MANAGER:
        raise DamagedBackup("this backup was not made by a manager")
    await backup.restore(found, paths, identity.node_id)

    def write() -> None:
        files.write_root(root)
        write_atomic(files.certificate, chain, 0o644)
        write_atomic(files.key, key)
        state.save(paths.swarm, node_state)

    await asyncio.to_thread(write)
    return identity
