"""The settings of `shoald` from its command line and configuration file, checked once.

A flag has dockerd's name if it means the same; the file's keys are daemon.json's. A setting that is given in both
places is refused, and so is an unknown key, in dockerd's words (moby daemon/config/config.go).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from shoal.daemon import generic_resources
from shoal.errors import InvalidArgument
from shoal.json_text import read_json
from shoal.paths import Paths
from shoal.runtime import log_options

DEFAULT_CONFIG_FILE = Path("/etc/shoal/daemon.json")
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    """The settings of one daemon.

    `hosts`: unix:// and tcp:// addresses of the API; by default one socket below `exec_root`. `group`: the group that
    may use the unix sockets besides root; ignored if the host has no such group.
    """

    hosts: tuple[str, ...] = ()
    data_root: Path = Path("/var/lib/shoal")
    exec_root: Path = Path("/run/shoal")
    pidfile: Path | None = None
    log_level: str = "info"
    debug: bool = False
    labels: tuple[str, ...] = ()
    metrics_addr: str = ""
    tls: bool = False
    tlsverify: bool = False
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""
    group: str = "docker"
    insecure_registries: tuple[str, ...] = ()
    default_advertise_addr: str = ""
    end_containers: bool = False  # a flag only: end the containers instead of running a daemon
    log_driver: str = log_options.DRIVER
    log_opts: Mapping[str, str] = field(default_factory=dict)
    node_generic_resources: tuple[str, ...] = ()
    cdi_spec_dirs: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi")

    def __post_init__(self) -> None:
        if self.log_level not in LOG_LEVELS:
            raise InvalidArgument(f"invalid logging level: {self.log_level} (one of {', '.join(LOG_LEVELS)})")
        for label in self.labels:
            if "=" not in label:
                raise InvalidArgument(f"bad attribute format: {label} (a label is key=value)")
        log_options.check(self.log_driver, self.log_opts)
        generic_resources.parse(self.node_generic_resources)
        for folder in self.cdi_folders:
            if not folder.is_absolute():
                raise InvalidArgument(f"--cdi-spec-dir must be an absolute path: {folder}")
        for host in self.hosts:
            _check_host(host, self)
        for name, root in (("--data-root", self.data_root), ("--exec-root", self.exec_root)):
            if not root.is_absolute():
                raise InvalidArgument(f"{name} must be an absolute path: {root}")

    @property
    def paths(self) -> Paths:
        """The two roots and the folders below them."""
        return Paths(self.data_root, self.exec_root)

    @property
    def logs(self) -> log_options.LogDefault:
        """How the logs of containers are kept that do not choose it themselves."""
        return log_options.LogDefault(self.log_driver, self.log_opts)

    @property
    def sockets(self) -> tuple[str, ...]:
        """Where the API listens: the given hosts, or else the default socket."""
        return self.hosts or (f"unix://{self.exec_root}/shoal.sock",)

    @property
    def generic(self) -> tuple[generic_resources.Resource, ...]:
        """The generic resources of this host that its owner configured."""
        return generic_resources.parse(self.node_generic_resources)

    @property
    def cdi_folders(self) -> tuple[Path, ...]:
        """The folders with CDI files. As in Docker, a single empty value means none."""
        return () if self.cdi_spec_dirs == ("",) else tuple(map(Path, self.cdi_spec_dirs))

    @property
    def engine_labels(self) -> dict[str, str]:
        """The labels of this engine. Constraints see them as `engine.labels.x`."""
        return dict(label.split("=", 1) for label in self.labels)


def _check_host(host: str, config: DaemonConfig) -> None:
    scheme, separator, rest = host.partition("://")
    if not separator or scheme not in {"unix", "tcp"} or not rest:
        raise InvalidArgument(f"invalid --host {host}: give unix:///path or tcp://address:port")
    if scheme == "unix":
        return
    if not (config.tlsverify and config.tlscacert and config.tlscert and config.tlskey):
        raise InvalidArgument(
            f"refusing {host}: whoever reaches it is root on this host, so it needs "
            "--tlsverify --tlscacert --tlscert --tlskey"
        )
    if not rest.rpartition(":")[2].isdigit():
        raise InvalidArgument(f"invalid --host {host}: the port is missing")


# daemon.json's key -> the field here.
FILE_KEYS = {
    "hosts": "hosts",
    "data-root": "data_root",
    "exec-root": "exec_root",
    "pidfile": "pidfile",
    "log-level": "log_level",
    "debug": "debug",
    "labels": "labels",
    "metrics-addr": "metrics_addr",
    "tls": "tls",
    "tlsverify": "tlsverify",
    "tlscacert": "tlscacert",
    "tlscert": "tlscert",
    "tlskey": "tlskey",
    "group": "group",
    "insecure-registries": "insecure_registries",
    "default-advertise-addr": "default_advertise_addr",
    "log-driver": "log_driver",
    "log-opts": "log_opts",
    "node-generic-resources": "node_generic_resources",
    "cdi-spec-dirs": "cdi_spec_dirs",
}
_LISTS = {"hosts", "labels", "insecure_registries", "node_generic_resources", "cdi_spec_dirs"}
_FLAGS = {"debug", "tls", "tlsverify"}
_MAPS = {"log_opts"}
_PATHS = {"data_root", "exec_root", "pidfile"}


def combine(flags: Mapping[str, Any], file_text: str | None, file_name: str) -> DaemonConfig:
    """Return the settings from the flags and the text of the file, if there is one.

    `flags` holds only the flags that were given, by field name. Raises InvalidArgument with one line that says what to
    change.
    """
    from_file = _parse_file(file_text, file_name) if file_text is not None else {}
    both = sorted(set(flags) & set(from_file))
    if both:
        listed = ", ".join(f"{name} (from flag: {flags[name]}, from file: {from_file[name]})" for name in both)
        raise InvalidArgument(
            f"the following directives are specified both as a flag and in the configuration file: {listed}"
        )
    settings = {**from_file, **flags}
    known = {entry.name for entry in fields(DaemonConfig)}
    return DaemonConfig(**{name: _typed(name, value) for name, value in settings.items() if name in known})


def _parse_file(text: str, file_name: str) -> dict[str, Any]:
    try:
        content = read_json(text) if text.strip() else {}
    except ValueError as error:
        raise InvalidArgument(f"unable to configure shoald with file {file_name}: {error}") from error
    if not isinstance(content, dict):
        raise InvalidArgument(f"unable to configure shoald with file {file_name}: it is not a JSON object")
    unknown = sorted(set(content) - set(FILE_KEYS))
    if unknown:
        raise InvalidArgument(
            f"unable to configure shoald with file {file_name}: "
            f"the following directives don't match any configuration option: {', '.join(unknown)}"
        )
    settings = {FILE_KEYS[key]: value for key, value in content.items()}
    for name, value in settings.items():
        if not _fits(name, value):
            key = next(key for key, field in FILE_KEYS.items() if field == name)
            raise InvalidArgument(f"unable to configure shoald with file {file_name}: {key} has the wrong type")
    return settings


def _fits(name: str, value: Any) -> bool:
    if name in _LISTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if name in _MAPS:
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    return isinstance(value, bool if name in _FLAGS else str)


def _typed(name: str, value: Any) -> Any:
    if name in _MAPS and not isinstance(value, dict):
        bad = [item for item in value if "=" not in item]
        if bad:
            raise InvalidArgument(f"bad format for --log-opt: {bad[0]} (an option is key=value)")
        return dict(item.split("=", 1) for item in value)
    if name in _LISTS:
        return tuple(value)
    return Path(value) if name in _PATHS else value
