"""Makes a new swarm: its root CA, the identity of the first node, its tokens. `shoal.ca` writes the files."""

from dataclasses import dataclass
from pathlib import Path

from shoal.api import v1 as api
from shoal.api.ids import new_id
from shoal.ca.csr import make_csr, new_key
from shoal.ca.root import create_root
from shoal.ca.security import SecurityConfig
from shoal.ca.tokens import new_kek, new_token
from shoal.manager.bootstrap import FirstLeader, default_cluster_spec
from shoal.manager.control.clusters import MANAGER_SUBSYSTEM
from shoal.node.state import NodeState
from shoal.node.types import InitRequest
from shoal.paths import Paths


@dataclass(frozen=True, slots=True)
class Founded:
    """A new swarm: the first node's identity, and what the first leader writes to the store."""

    security: SecurityConfig
    first: FirstLeader


def found(paths: Paths, request: InitRequest, state: NodeState, now: float) -> Founded:
    """Make a swarm's root and write this node's identity. Blocks. Raises OSError."""
    root = create_root(now)
    node_id, cluster_id = new_id(), new_id()
    key = new_key()
    paths.swarm.mkdir(mode=0o700, parents=True, exist_ok=True)
    chain = root.issue(make_csr(key), node_id, api.MANAGER, cluster_id, now=now)
    kek = new_kek() if request.auto_lock_managers else None
    security = SecurityConfig.create(
        certificates(paths), root_pem=root.certs_pem, chain_pem=chain, key=key, now=now, kek=kek
    )
    spec = default_cluster_spec()
    spec.encryption_config.auto_lock_managers = request.auto_lock_managers
    first = FirstLeader(
        cluster_id=cluster_id,
        node_id=node_id,
        root_ca=api.RootCA(
            ca_key=root.key_pem,
            ca_cert=root.certs_pem,
            ca_cert_hash=f"sha256:{root.digest}",
            join_tokens=api.JoinTokens(worker=new_token(root.certs_pem), manager=new_token(root.certs_pem)),
        ),
        certificate=chain,
        spec=spec,
        unlock_keys=(api.EncryptionKey(subsystem=MANAGER_SUBSYSTEM, key=kek),) if kek is not None else (),
        availability=request.availability,
        address_pools=state.default_addr_pool,
        subnet_size=state.subnet_size,
        vxlan_port=state.data_path_port,
    )
    return Founded(security, first)


def certificates(paths: Paths) -> Path:
    """Return the folder of the node's certificate and key."""
    return paths.swarm / "certificates"
