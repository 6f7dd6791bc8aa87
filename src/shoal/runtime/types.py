"""The values that the runtime takes and returns, without behaviour.

`ContainerConfig` is a container as its creator wants it, `Container` what is known about one. The agent makes the first
from a task, the Engine API shows the second. Durations are seconds, sizes bytes, instants seconds since 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from shoal.network.types import Attachment, HostPort, LocalAttachment, Mode, Sandbox


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a container. `source` is a path (bind), a volume's name (volume, empty: anonymous) or empty."""

    type: Literal["bind", "volume", "tmpfs"]
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = ""  # bind: rprivate (default), private, rshared, shared, rslave, slave
    non_recursive: bool = False
    create_mountpoint: bool = False
    no_copy: bool = False  # volume: do not fill an empty volume from the image
    subpath: str = ""
    volume_driver: str = ""
    volume_options: Mapping[str, str] = field(default_factory=dict)
    volume_labels: Mapping[str, str] = field(default_factory=dict)
    tmpfs_size_bytes: int = 0  # 0: unlimited
    tmpfs_mode: int = 0  # 0: 01777
    tmpfs_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """How to check a container's health. `test[0]` is NONE, CMD or CMD-SHELL; 0 means the image's or Docker's default.


    Defaults: interval 30 s, timeout 30 s, retries 3, start period 0 s, start interval 5 s (moby daemon/health.go).
    """

    test: tuple[str, ...] = ()
    interval: float = 0.0
    timeout: float = 0.0
    start_period: float = 0.0
    start_interval: float = 0.0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Ulimit:
    """One resource limit, by its name without RLIMIT_ in lower case: nofile, nproc."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """A container as its creator wants it. Empty values mean the image's value, or else Docker's default."""

    name: str
    image: str  # the reference as it was given; shown to people
    entrypoint: tuple[str, ...] = ()  # replaces the image's entrypoint, and with it the image's command
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()  # KEY=value; a bare KEY removes the image's
    working_dir: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    hostname: str = ""  # default: the first 12 characters of the id
    domainname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    tty: bool = False
    open_stdin: bool = False
    read_only: bool = False
    init: bool | None = None
    stop_signal: str = ""
    stop_timeout: float = 10.0
    health: HealthConfig | None = None  # None: as the image says
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()  # (address, names)
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()  # CAP_X, X or ALL, any case
    cap_drop: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    nano_cpus: int = 0
    memory_bytes: int = 0
    memory_swap_bytes: int | None = None  # swap beyond memory; None: as much as memory, as Docker does
    memory_swappiness: int | None = None
    pids_limit: int = 0
    oom_score_adj: int = 0
    seccomp: str = "default"  # default, unconfined, or a profile as JSON text
    apparmor: str = "default"  # default, disabled
    no_new_privileges: bool = False
    network: Mode = "bridge"  # if it is on no overlay
    attachments: tuple[Attachment, ...] = ()
    ports: tuple[HostPort, ...] = ()
    own_networks: tuple[LocalAttachment, ...] = ()  # of the swarm, which this node makes by itself
    log_driver: str = ""  # empty: the daemon's
    log_options: Mapping[str, str] = field(default_factory=dict)
    generic: tuple[tuple[str, str], ...] = ()  # kinds and values of its claimed named resources


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A secret or a config as a file of a container. It is in no record: only in memory, and in the container."""

    target: str  # absolute
    data: bytes = field(repr=False)
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


class Phase(StrEnum):
    """The phase of a container's life, in Docker's words."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


class Health(StrEnum):
    """The result of the health probes, in Docker's words."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Probe:
    """One health probe that ended. `output` is cut at 4096 bytes."""

    started_at: float
    ended_at: float
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class Container:
    """The state of a container. Each change makes a new value; none is changed in place."""

    id: str  # 64 hex digits
    config: ContainerConfig
    image_id: str  # sha256:...
    phase: Phase
    created_at: float
    path: str = ""  # the program, after the image's defaults were applied
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()  # image's and config's, merged
    started_at: float = 0.0
    finished_at: float = 0.0
    pid: int = 0  # 0 unless running
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""  # why it could not be started
    health: Health = Health.NONE
    failing_streak: int = 0
    probes: tuple[Probe, ...] = ()  # the last five
    restart_count: int = 0
    sandbox: Sandbox = field(default_factory=Sandbox)
    apparmor_profile: str = ""  # the profile of its last start; empty without AppArmor
    mounts: tuple[Mount, ...] = ()  # with volume names filled in
    mount_sources: Mapping[str, str] = field(default_factory=dict)  # target -> path on the host
    log_path: str = ""
    working_dir: str = "/"  # this and the next three: image's and config's, merged
    user: str = ""
    stop_signal: int = 15
    health_config: HealthConfig | None = None  # None: no probes


@dataclass(frozen=True, slots=True)
class ExecConfig:
    """A command to run in a running container. Empty values mean those of the container's own process."""

    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = True
    attach_stderr: bool = True
    privileged: bool = False
    detach_keys: str = ""


@dataclass(frozen=True, slots=True)
class Exec:
    """The state of an exec. Each change makes a new value."""

    id: str  # 64 hex digits
    container_id: str
    config: ExecConfig
    running: bool = False
    pid: int = 0  # on the host; 0 unless running
    exit_code: int | None = None  # None until it has ended


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a container's output, with its newline unless it was split."""

    at_nanos: int
    stream: Literal["stdout", "stderr"]
    data: bytes


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which lines to read, and whether to wait for more. `tail` None: all; `until_nanos` 0: no end."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    since_nanos: int = 0
    until_nanos: int = 0
    tail: int | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """One reading of a container's cgroup and interfaces. Times in nanoseconds, sizes in bytes."""

    read_at: float
    cpu_total_nanos: int
    cpu_user_nanos: int
    cpu_system_nanos: int
    host_cpu_nanos: int  # all CPUs of the host, as /proc/stat says
    online_cpus: int
    memory_usage_bytes: int
    memory_limit_bytes: int
    memory_stats: Mapping[str, int]  # memory.stat of the cgroup
    pids: int
    pids_limit: int  # 0: none
    networks: Mapping[str, Mapping[str, int]]  # interface -> rx_bytes, rx_packets, ..., tx_dropped
    block_io: tuple[tuple[int, int, str, int], ...]  # (major, minor, Read|Write, bytes)


@dataclass(frozen=True, slots=True)
class Image:
    """An image on this host. `config` is the OCI/Docker image config as parsed JSON."""

    id: str  # sha256: of the config
    config: Mapping[str, object]
    layers: tuple[str, ...]  # diff ids, lowest first
    size_bytes: int  # of the unpacked layers
    repo_tags: tuple[str, ...]  # familiar form: busybox:latest
    repo_digests: tuple[str, ...]  # busybox@sha256:...
    created_at: float


@dataclass(frozen=True, slots=True)
class Volume:
    """A local volume."""

    name: str
    mountpoint: str
    created_at: float
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False
