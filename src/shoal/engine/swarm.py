"""The swarm itself: init, join, leave, inspect, update, unlock.

Source of semantics and texts: moby daemon/cluster/swarm.go, daemon/server/router/swarm/cluster_routes.go.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from shoal.api import v1 as api
from shoal.engine import lookups
from shoal.engine.codec.cluster import CLUSTER_SPEC, encode_swarm, merge_spec
from shoal.engine.codec.kinds import FLAG, TEXT, TEXTS, UINT32, Kind, Mismatch
from shoal.engine.codec.message import decode_body, member
from shoal.engine.codec.node import AVAILABILITY
from shoal.engine.control_client import rpc
from shoal.engine.parameters import go_flag, object_version
from shoal.engine.replies import empty_reply, json_reply
from shoal.engine.requests import Call
from shoal.errors import InvalidArgument, OutOfSequence, RpcError, ShoalError
from shoal.node.types import InitRequest, JoinRequest

if TYPE_CHECKING:
    from shoal.manager.control import ControlRpcs

# Several, because the new leader also writes the cluster in its first moments.
APPLY_ATTEMPTS = 5


async def init_swarm(call: Call) -> web.StreamResponse:
    """POST /swarm/init: answers with the node's id once the swarm exists."""
    body = await call.json_object()
    spec = decode_body(CLUSTER_SPEC, member(body, "Spec"))
    if not _value(body, "ListenAddr", TEXT, ""):
        raise InvalidArgument('invalid ListenAddr "": invalid empty address')
    if spec.annotations.name not in ("", "default"):
        raise InvalidArgument('swarm spec must be named "default"')
    spec.annotations.name = "default"
    spec.encryption_config.auto_lock_managers |= _value(body, "AutoLockManagers", FLAG, False)
    request = _init_request(call, body, spec)
    node = call.backend.node
    # The manager's modules import each other. They are only imported by `prepare`, because a second thread that began
    # elsewhere among them could see a half-imported module.
    await node.prepare()
    # Checked before anything is made, so that a refused spec leaves no swarm behind.
    _check(spec)
    node_id = await node.init(request)
    try:
        await _apply_spec(node.control(), spec, member(body, "Spec"))
    except ShoalError:
        # Some errors only show in the running swarm, those of an external CA for example. A failed init leaves no
        # swarm.
        if not request.force_new_cluster:
            await node.leave(True)
        raise
    return json_reply(node_id)


def _check(spec: api.ClusterSpec) -> None:
    # Imported here, because a daemon in no swarm starts without the manager's modules.
    from shoal.manager.control.clusters import refuse_unsupported_cluster, validate_cluster_spec

    validate_cluster_spec(spec)
    refuse_unsupported_cluster(spec)


def _init_request(call: Call, body: Mapping[str, Any], spec: api.ClusterSpec) -> InitRequest:
    availability = _value(body, "Availability", AVAILABILITY, api.NodeSpec.ACTIVE)
    return InitRequest(
        listen_addr=_value(body, "ListenAddr", TEXT, ""),
        advertise_addr=_value(body, "AdvertiseAddr", TEXT, ""),
        data_path_addr=_value(body, "DataPathAddr", TEXT, ""),
        # Options that are newer than the client's API version are ignored.
        data_path_port=_value(body, "DataPathPort", UINT32, 0) if call.api >= 40 else 0,
        default_addr_pool=tuple(_value(body, "DefaultAddrPool", TEXTS, ())) if call.api >= 39 else (),
        subnet_size=_value(body, "SubnetSize", UINT32, 0) if call.api >= 39 else 0,
        availability=availability if availability >= 0 else api.NodeSpec.ACTIVE,
        force_new_cluster=_value(body, "ForceNewCluster", FLAG, False),
        auto_lock_managers=spec.encryption_config.auto_lock_managers,
    )


def _value(body: Mapping[str, Any], name: str, kind: Kind, default: Any, struct: str = "InitRequest") -> Any:
    given = member(body, name)
    if given is None:
        return default
    try:
        return kind.decode(given)
    except Mismatch as error:
        error.struct, error.path = struct, [name]
        raise InvalidArgument(f"invalid JSON: {error.text()}") from None


async def _apply_spec(control: "ControlRpcs", asked: api.ClusterSpec, given: Any) -> None:
    """Apply the requested spec to the new swarm. If it changes nothing, nothing is written."""
    for left in reversed(range(APPLY_ATTEMPTS)):
        try:
            await _apply_once(control, asked, given)
            return
        except RpcError as error:
            if error.desc != str(OutOfSequence()) or not left:
                raise


async def _apply_once(control: "ControlRpcs", asked: api.ClusterSpec, given: Any) -> None:
    cluster = await lookups.the_cluster(control)
    spec = api.ClusterSpec()
    spec.CopyFrom(cluster.spec)
    merge_spec(
        asked,
        spec,
        keep_snapshots=member(member(given, "Raft"), "KeepOldSnapshots") is not None,
        keep_history=member(member(given, "Orchestration"), "TaskHistoryRetentionLimit") is not None,
    )
    if spec != cluster.spec:
        request = api.UpdateClusterRequest(cluster_id=cluster.id, cluster_version=cluster.meta.version, spec=spec)
        await rpc(control.update_cluster, request)


async def inspect_swarm(call: Call) -> web.StreamResponse:
    """GET /swarm."""
    return json_reply(encode_swarm(await lookups.the_cluster(call.backend.node.control())))


async def update_swarm(call: Call) -> web.StreamResponse:
    """POST /swarm/update. Unlike in init, the given spec replaces the whole old one."""
    spec = decode_body(CLUSTER_SPEC, await call.json_object())
    version = object_version(call, "swarm")
    rotation = api.KeyRotation(
        worker_join_token=go_flag(call, "rotateWorkerToken", "invalid value for rotateWorkerToken: %s"),
        manager_join_token=go_flag(call, "rotateManagerToken", "invalid value for rotateManagerToken: %s"),
        manager_unlock_key=go_flag(call, "rotateManagerUnlockKey", "invalid value for rotateManagerUnlockKey: %s"),
    )
    control = call.backend.node.control()
    cluster = await lookups.the_cluster(control)
    if not spec.annotations.name:
        spec.annotations.name = "default"
    request = api.UpdateClusterRequest(
        cluster_id=cluster.id, cluster_version=api.Version(index=version), spec=spec, rotation=rotation
    )
    await rpc(control.update_cluster, request)
    return empty_reply()


async def leave_swarm(call: Call) -> web.StreamResponse:
    """POST /swarm/leave."""
    await call.backend.node.leave(call.flag("force"))
    return empty_reply()


async def unlock_key(call: Call) -> web.StreamResponse:
    """GET /swarm/unlockkey: the key is empty if autolock is off."""
    return json_reply({"UnlockKey": await call.backend.node.unlock_key()})


async def join_swarm(call: Call) -> web.StreamResponse:
    """POST /swarm/join: answers once this host is a node of the swarm."""
    body = await call.json_object()
    availability = _value(body, "Availability", AVAILABILITY, api.NodeSpec.ACTIVE, "JoinRequest")
    request = JoinRequest(
        listen_addr=_value(body, "ListenAddr", TEXT, "", "JoinRequest"),
        remote_addrs=tuple(_value(body, "RemoteAddrs", TEXTS, (), "JoinRequest")),
        join_token=_value(body, "JoinToken", TEXT, "", "JoinRequest"),
        advertise_addr=_value(body, "AdvertiseAddr", TEXT, "", "JoinRequest"),
        data_path_addr=_value(body, "DataPathAddr", TEXT, "", "JoinRequest"),
        availability=availability if availability >= 0 else api.NodeSpec.ACTIVE,
    )
    await call.backend.node.join(request)
    return empty_reply()


async def unlock_swarm(call: Call) -> web.StreamResponse:
    """POST /swarm/unlock."""
    body = await call.json_object()
    await call.backend.node.unlock(_value(body, "UnlockKey", TEXT, "", "UnlockRequest"))
    return empty_reply()


ROUTES = [
    ("GET", "/swarm", inspect_swarm),
    ("POST", "/swarm/init", init_swarm),
    ("POST", "/swarm/join", join_swarm),
    ("POST", "/swarm/leave", leave_swarm),
    ("POST", "/swarm/update", update_swarm),
    ("GET", "/swarm/unlockkey", unlock_key),
    ("POST", "/swarm/unlock", unlock_swarm),
]
