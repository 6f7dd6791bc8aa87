"""`ContainerSpec`, which says what a task runs: mounts, privileges, health check, secret and config references.

Source: moby api/types/swarm/container.go, api/types/mount, daemon/cluster/convert/container.go.
"""

import json
from collections.abc import Mapping
from typing import Any

from shoal.api import v1 as api
from shoal.engine.codec.common import DRIVER
from shoal.engine.codec.kinds import (
    BYTES,
    DURATION,
    FLAG,
    INT32,
    INT64,
    OPTIONAL_FLAG,
    TEXT_MAP,
    TEXTS,
    UINT32,
    AnyCaseEnum,
    Enum,
    ListOf,
    Mismatch,
    lower_names,
)
from shoal.engine.codec.message import ALWAYS, NONZERO, NULLABLE, MessageCodec, field, member
from shoal.errors import InvalidArgument
from shoal.json_text import read_json

HEALTH_CONFIG = MessageCodec(
    api.HealthConfig,
    field("Test", "test", TEXTS),
    field("Interval", "interval", DURATION, NONZERO),
    field("Timeout", "timeout", DURATION, NONZERO),
    field("StartPeriod", "start_period", DURATION, NONZERO),
    field("StartInterval", "start_interval", DURATION, NONZERO),
    field("Retries", "retries", INT32),
)

DNS_CONFIG = MessageCodec(
    api.ContainerSpec.DNSConfig,
    field("Nameservers", "nameservers", TEXTS),
    field("Search", "search", TEXTS),
    field("Options", "options", TEXTS),
)

ULIMIT = MessageCodec(
    api.ContainerSpec.Ulimit,
    field("Name", "name", when=ALWAYS),
    field("Hard", "hard", INT64, ALWAYS),
    field("Soft", "soft", INT64, ALWAYS),
)


class TmpfsOptionList:
    """Mount options of a tmpfs: lists of words in Docker's JSON. Swarm's message has this JSON as one string."""

    go_type = "[][]string"
    _words = ListOf(TEXTS)

    def encode(self, value: str) -> list[list[str]]:
        try:
            options = read_json(value) if value else []
            return self._words.decode(options) if options else []
        except (ValueError, Mismatch):  # It was not written through this API. Docker shows nothing then.
            return []

    def decode(self, value: Any) -> str:
        options = self._words.decode(value)
        return json.dumps(options, separators=(",", ":"), ensure_ascii=False) if options else ""


def _read_bind_options(_: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    for dropped in ("createmountpoint", "readonlynonrecursive", "readonlyforcerecursive"):
        arguments.pop(dropped, None)  # Docker only passes on the other two (convert/container.go, containerToGRPC).


BIND_OPTIONS = MessageCodec(
    api.Mount.BindOptions,
    field(
        "Propagation",
        "propagation",
        AnyCaseEnum(lower_names(api.Mount.BindOptions.Propagation.items), 'invalid MountPropagation: "%s"'),
    ),
    field("NonRecursive", "nonrecursive", FLAG),
    field("CreateMountpoint", "createmountpoint", FLAG),
    field("ReadOnlyNonRecursive", "readonlynonrecursive", FLAG),
    field("ReadOnlyForceRecursive", "readonlyforcerecursive", FLAG),
    read=_read_bind_options,
)

VOLUME_OPTIONS = MessageCodec(
    api.Mount.VolumeOptions,
    field("NoCopy", "nocopy", FLAG),
    field("Labels", "labels", TEXT_MAP),
    field("Subpath", "subpath"),
    field("DriverConfig", "driver_config", DRIVER),
)

TMPFS_OPTIONS = MessageCodec(
    api.Mount.TmpfsOptions,
    field("SizeBytes", "size_bytes", INT64),
    field("Mode", "mode", UINT32),
    field("Options", "options", TmpfsOptionList()),
)


def _read_mount(given: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    bind = member(given, "BindOptions")
    if not member(bind, "Propagation") and not member(bind, "NonRecursive"):
        arguments.pop("bind_options", None)  # Nothing of them is passed on, so Docker leaves the message out.


MOUNT = MessageCodec(
    api.Mount,
    field("Type", "type", AnyCaseEnum(lower_names(api.Mount.Type.items), 'invalid MountType: "%s"')),
    field("Source", "source"),
    field("Target", "target"),
    field("ReadOnly", "readonly", FLAG),
    field("BindOptions", "bind_options", BIND_OPTIONS),
    field("VolumeOptions", "volume_options", VOLUME_OPTIONS),
    field("TmpfsOptions", "tmpfs_options", TMPFS_OPTIONS),
    read=_read_mount,
)

# The mode of a file that no mode was given for. Docker's command adds it; the API of an Engine takes none for 000, with
# which nobody but root can read the file (moby/moby#30991).
DEFAULT_FILE_MODE = 0o444


def _read_file_target(_: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    arguments.setdefault("mode", DEFAULT_FILE_MODE)
    for owner in ("uid", "gid"):
        arguments.setdefault(owner, "0")


FILE_TARGET = MessageCodec(
    api.FileTarget,
    field("Name", "name", when=ALWAYS),
    field("UID", "uid", when=ALWAYS),
    field("GID", "gid", when=ALWAYS),
    field("Mode", "mode", UINT32, ALWAYS),
    read=_read_file_target,
)

SECRET_REFERENCE = MessageCodec(
    api.SecretReference,
    field("File", "file", FILE_TARGET, NULLABLE),
    field("SecretID", "secret_id", when=ALWAYS),
    field("SecretName", "secret_name", when=ALWAYS),
)

RUNTIME_TARGET = MessageCodec(api.RuntimeTarget, go_name="ConfigReferenceRuntimeTarget")


def _read_config_reference(_: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    if "file" in arguments and "runtime" in arguments:
        raise InvalidArgument("invalid Config: cannot specify both File and Runtime")
    if "file" not in arguments and "runtime" not in arguments:
        raise InvalidArgument("invalid Config: either File or Runtime should be set")


CONFIG_REFERENCE = MessageCodec(
    api.ConfigReference,
    field("File", "file", FILE_TARGET),
    field("Runtime", "runtime", RUNTIME_TARGET),
    field("ConfigID", "config_id", when=ALWAYS),
    field("ConfigName", "config_name", when=ALWAYS),
    read=_read_config_reference,
)


def check_credential_spec(sources: list[str]) -> None:
    """Raise InvalidArgument for a credential spec that names no source, or several."""
    named = [f'"{source}"' for source in sources]
    if not named:
        raise InvalidArgument(
            'invalid CredentialSpec: must either provide "file", "registry", or "config" for credential spec'
        )
    if len(named) > 1:
        listed = f"{named[0]} and {named[1]}" if len(named) == 2 else f"{', '.join(named[:-1])}, and {named[-1]}"
        raise InvalidArgument(f"invalid CredentialSpec: cannot specify both {listed} credential specs")


def _read_credential_spec(_: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    filled = [source for source in ("config", "file", "registry") if arguments.get(source)]
    check_credential_spec(filled)
    for source in ("config", "file", "registry"):
        if source not in filled:
            arguments.pop(source, None)


CREDENTIAL_SPEC = MessageCodec(
    api.Privileges.CredentialSpec,
    field("Config", "config", when=ALWAYS),
    field("File", "file", when=ALWAYS),
    field("Registry", "registry", when=ALWAYS),
    read=_read_credential_spec,
)

SELINUX_CONTEXT = MessageCodec(
    api.Privileges.SELinuxContext,
    field("Disable", "disable", FLAG, ALWAYS),
    field("User", "user", when=ALWAYS),
    field("Role", "role", when=ALWAYS),
    field("Type", "type", when=ALWAYS),
    field("Level", "level", when=ALWAYS),
)

PRIVILEGES = MessageCodec(
    api.Privileges,
    field("CredentialSpec", "credential_spec", CREDENTIAL_SPEC, NULLABLE),
    field("SELinuxContext", "selinux_context", SELINUX_CONTEXT, NULLABLE),
    field(
        "Seccomp",
        "seccomp",
        MessageCodec(
            api.Privileges.SeccompOpts,
            field("Mode", "mode", Enum(lower_names(api.Privileges.SeccompOpts.SeccompMode.items))),
            field("Profile", "profile", BYTES),
        ),
    ),
    field(
        "AppArmor",
        "apparmor",
        MessageCodec(
            api.Privileges.AppArmorOpts,
            field("Mode", "mode", Enum(lower_names(api.Privileges.AppArmorOpts.AppArmorMode.items))),
        ),
    ),
    field("NoNewPrivileges", "no_new_privileges", FLAG, ALWAYS),
)

_ISOLATION = AnyCaseEnum(
    {
        api.ContainerSpec.ISOLATION_DEFAULT: "default",
        api.ContainerSpec.ISOLATION_PROCESS: "process",
        api.ContainerSpec.ISOLATION_HYPERV: "hyperv",
    }
)

CONTAINER_SPEC = MessageCodec(
    api.ContainerSpec,
    field("Image", "image"),
    field("Labels", "labels", TEXT_MAP),
    field("Command", "command", TEXTS),
    field("Args", "args", TEXTS),
    field("Hostname", "hostname"),
    field("Env", "env", TEXTS),
    field("Dir", "dir"),
    field("User", "user"),
    field("Groups", "groups", TEXTS),
    field("Privileges", "privileges", PRIVILEGES),
    field("Init", "init", OPTIONAL_FLAG),
    field("StopSignal", "stop_signal"),
    field("TTY", "tty", FLAG),
    field("OpenStdin", "open_stdin", FLAG),
    field("ReadOnly", "read_only", FLAG),
    field("Mounts", "mounts", ListOf(MOUNT)),
    field("StopGracePeriod", "stop_grace_period", DURATION),
    field("Healthcheck", "healthcheck", HEALTH_CONFIG),
    field("Hosts", "hosts", TEXTS),
    field("DNSConfig", "dns_config", DNS_CONFIG),
    # A reference without a target is left out, as in Docker, which also logs a warning.
    field("Secrets", "secrets", ListOf(SECRET_REFERENCE, lambda ref: ref.HasField("file"))),
    field("Configs", "configs", ListOf(CONFIG_REFERENCE, lambda ref: ref.WhichOneof("target") is not None)),
    field("Isolation", "isolation", _ISOLATION),
    field("Sysctls", "sysctls", TEXT_MAP),
    field("CapabilityAdd", "capability_add", TEXTS),
    field("CapabilityDrop", "capability_drop", TEXTS),
    field("Ulimits", "ulimits", ListOf(ULIMIT)),
    field("OomScoreAdj", "oom_score_adj", INT64),
)
