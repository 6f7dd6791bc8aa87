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
    # Taken from a request, never shown: a read and a write back must not rotate the CA.
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


@lru_cache(maxsize=4)  # One certificate a swarm, two while its root is being rotated.
def _issuer(certificate: bytes) -> tuple[str, str]:
    """Return subject and public key of a certificate, DER in base64; empty for what is none."""
    # A daemon in no swarm starts without it.
    from shoal.ca.identity import InvalidCertificate, public_key_der, read_chain

    try:
        parsed = read_chain(certificate)[0]
    except InvalidCertificate:
        return "", ""
    subject, key = parsed.subject.public_bytes(), public_key_der(parsed)
    return base64.b64encode(subject).decode("ascii"), base64.b64encode(key).decode("ascii")


def tls_info(root: api.RootCA) -> dict[str, str]:
    """Return a swarm's TLSInfo: the root trusted now, and the issuer that signs next."""
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
    """Return a swarm as `GET /swarm` shows it: the cluster and its join tokens."""
    tokens = cluster.root_ca.join_tokens
    return {**CLUSTER.encode(cluster), "JoinTokens": {"Worker": tokens.worker, "Manager": tokens.manager}}


def merge_spec(asked: api.ClusterSpec, base: api.ClusterSpec, *, keep_snapshots: bool, keep_history: bool) -> None:
    """Put what a `swarm init` asked for over the defaults: zero and empty keep the default. Changes `base`.

    `keep_snapshots` and `keep_history`: these two were given, and count even when they are zero.
    Source: MergeSwarmSpecToGRPC.
    """
    base.annotations.MergeFrom(asked.annotations)
    if keep_history:
        base.orchestration.task_history_retention_limit = asked.orchestration.task_history_retention_limit
    if keep_snapshots:
        base.raft.keep_old_snapshots = asked.raft.keep_old_snapshots
    # Merging numbers and strings is proto3's own "zero keeps"; lists are appended to, as Docker does.
    base.raft.MergeFrom(asked.raft)
    base.dispatcher.MergeFrom(asked.dispatcher)
    base.ca_config.MergeFrom(asked.ca_config)
    base.ca_config.force_rotate = asked.ca_config.force_rotate
    base.encryption_config.auto_lock_managers = asked.encryption_config.auto_lock_managers
