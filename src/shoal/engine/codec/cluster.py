"""The swarm itself: spec and object. Source: moby api/types/swarm/swarm.go, daemon/cluster/convert/swarm.go."""

import base64
from functools import lru_cache
from typing import Any

from shoal.api import v1 as api
from shoal.engine.codec.common import ANNOTATIONS, DRIVER, META
from shoal.engine.codec.kinds import (
    DURATION,
    FLAG,
    INT64,
    TEXT_BYTES,
    TEXT_MAP,
    TEXTS,
    UINT32,
    UINT64,
    AnyCaseEnum,
    ListOf,
    lower_names,
)
from shoal.engine.codec.message import ALWAYS, NONZERO, MessageCodec, field, inline

ORCHESTRATION = MessageCodec(
    api.OrchestrationConfig, field("TaskHistoryRetentionLimit", "task_history_retention_limit", INT64, ALWAYS)
)

RAFT = MessageCodec(
    api.RaftConfig,
    field("SnapshotInterval", "snapshot_interval", UINT64),
    field("KeepOldSnapshots", "keep_old_snapshots", UINT64, ALWAYS),
    field("LogEntriesForSlowFollowers", "log_entries_for_slow_followers", UINT64),
    field("ElectionTick", "election_tick", UINT32, ALWAYS),
    field("HeartbeatTick", "heartbeat_tick", UINT32, ALWAYS),
)

DISPATCHER = MessageCodec(api.DispatcherConfig, field("HeartbeatPeriod", "heartbeat_period", DURATION, NONZERO))

EXTERNAL_CA = MessageCodec(
    api.ExternalCA,
    field(
        "Protocol",
        "protocol",
        AnyCaseEnum(lower_names(api.ExternalCA.CAProtocol.items), 'invalid protocol: "%s"'),
        ALWAYS,
    ),
    field("URL", "url", when=ALWAYS),
    field("Options", "options", TEXT_MAP),
    field("CACert", "ca_cert", TEXT_BYTES, ALWAYS),
)


def _hide_signing_ca(_: Any, shown: dict[str, Any]) -> None:
    # Accepted in a request but never shown, so that reading and writing back a spec does not rotate the CA.
    shown.pop("SigningCACert", None)
    shown.pop("SigningCAKey", None)


CA_CONFIG = MessageCodec(
    api.CAConfig,
    field("NodeCertExpiry", "node_cert_expiry", DURATION, NONZERO),
    field("ExternalCAs", "external_cas", ListOf(EXTERNAL_CA)),
    field("SigningCACert", "signing_ca_cert", TEXT_BYTES),
    field("SigningCAKey", "signing_ca_key", TEXT_BYTES),
    field("ForceRotate", "force_rotate", UINT64),
    shown=_hide_signing_ca,
)

ENCRYPTION = MessageCodec(api.EncryptionConfig, field("AutoLockManagers", "auto_lock_managers", FLAG, ALWAYS))

TASK_DEFAULTS = MessageCodec(api.TaskDefaults, field("LogDriver", "log_driver", DRIVER))

CLUSTER_SPEC: MessageCodec[api.ClusterSpec] = MessageCodec(
    api.ClusterSpec,
    inline("annotations", ANNOTATIONS),
    field("Orchestration", "orchestration", ORCHESTRATION, ALWAYS),
    field("Raft", "raft", RAFT, ALWAYS),
    field("Dispatcher", "dispatcher", DISPATCHER, ALWAYS),
    field("CAConfig", "ca_config", CA_CONFIG, ALWAYS),
    field("TaskDefaults", "task_defaults", TASK_DEFAULTS, ALWAYS),
    field("EncryptionConfig", "encryption_config", ENCRYPTION, ALWAYS),
    go_name="Spec",
)


@lru_cache(maxsize=4)  # A swarm has one root certificate, and two during a rotation.
def _issuer(certificate: bytes) -> tuple[str, str]:
    """Return subject and public key of a certificate as DER in base64, or empty texts if it cannot be read."""
    # Imported here, because a daemon in no swarm starts without it.
    from shoal.ca.identity import InvalidCertificate, public_key_der, read_chain

    try:
        parsed = read_chain(certificate)[0]
    except InvalidCertificate:
        return "", ""
    subject, key = parsed.subject.public_bytes(), public_key_der(parsed)
    return base64.b64encode(subject).decode("ascii"), base64.b64encode(key).decode("ascii")


def tls_info(root: api.RootCA) -> dict[str, str]:
    """Return a swarm's TLSInfo: the trusted root and, during a rotation, the issuer of the next one."""
    rotating = root.HasField("root_rotation")
    subject, key = _issuer(root.root_rotation.ca_cert if rotating else root.ca_cert)
    info = {
        "TrustRoot": root.ca_cert.decode("utf-8", "replace"),
        "CertIssuerSubject": subject,
        "CertIssuerPublicKey": key,
    }
    return {name: value for name, value in info.items() if value}


def _show_root(message: Any, shown: dict[str, Any]) -> None:
    shown["TLSInfo"] = tls_info(message.root_ca)
    shown["RootRotationInProgress"] = message.root_ca.HasField("root_rotation")


CLUSTER: MessageCodec[api.Cluster] = MessageCodec(
    api.Cluster,
    field("ID", "id", when=ALWAYS),
    inline("meta", META),
    field("Spec", "spec", CLUSTER_SPEC, ALWAYS),
    field("DefaultAddrPool", "defaultAddressPool", TEXTS, ALWAYS),
    field("SubnetSize", "subnetSize", UINT32, ALWAYS),
    field("DataPathPort", "VXLANUDPPort", UINT32, ALWAYS),
    shown=_show_root,
)


def encode_swarm(cluster: api.Cluster) -> dict[str, Any]:
    """Return the JSON of `GET /swarm`: the cluster with its join tokens."""
    tokens = cluster.root_ca.join_tokens
    return {**CLUSTER.encode(cluster), "JoinTokens": {"Worker": tokens.worker, "Manager": tokens.manager}}


def merge_spec(asked: api.ClusterSpec, base: api.ClusterSpec, *, keep_snapshots: bool, keep_history: bool) -> None:
    """Apply the spec of a `swarm init` to the defaults in `base`. Zero and empty values keep the default.

    `keep_snapshots` and `keep_history` say that these two numbers were given; then they are applied even if they are
    zero. Source: MergeSwarmSpecToGRPC.
    """
    base.annotations.MergeFrom(asked.annotations)
    if keep_history:
        base.orchestration.task_history_retention_limit = asked.orchestration.task_history_retention_limit
    if keep_snapshots:
        base.raft.keep_old_snapshots = asked.raft.keep_old_snapshots
    # Merging in proto3 keeps numbers and strings that are zero or empty in `asked`. It appends to lists, as Docker
    # does.
    base.raft.MergeFrom(asked.raft)
    base.dispatcher.MergeFrom(asked.dispatcher)
    base.ca_config.MergeFrom(asked.ca_config)
    base.ca_config.force_rotate = asked.ca_config.force_rotate
    base.encryption_config.auto_lock_managers = asked.encryption_config.auto_lock_managers
