"""The keys of a service, and the kind of each."""

import posixpath
from collections.abc import Sequence
from typing import Any

from shoal.compose import mounts, ports, words
from shoal.compose.deploy_keys import DEPLOY, GPUS
from shoal.compose.kinds import (
    Anything,
    Either,
    Kind,
    ListOf,
    MapOf,
    Pairs,
    Parsed,
    PathOf,
    Record,
    Replaced,
    Text,
    Truth,
    Where,
    as_text,
    by,
    by_value,
    expect,
)
from shoal.compose.node import Node, node
from shoal.compose.paths import absolute, context
from shoal.compose.values import DURATION, FLOAT, INTEGER, MODE, MODE_NUMBER, NAME, SIZE, TEXT

TEXTS = ListOf(TEXT)
NAMES = ListOf(TEXT, unique=by_value)
TEXT_OR_TEXTS = ListOf(TEXT, unique=by_value, single=True)


class Command(Replaced):
    """A command: a list of words, or one text that is split into words."""

    def read(self, node: Node, where: Where) -> Node:
        if isinstance(node.value, str):
            try:
                return node.made([Node(word, node.place) for word in words.split(node.value)])
            except words.BadWords as error:
                raise where.wrong(node, str(error)) from error
        return node if node.value is None else TEXTS.read(node, where)


class Test(Replaced):
    """A health check's command: a list that begins with NONE, CMD or CMD-SHELL, or one text for a shell."""

    def read(self, node: Node, where: Where) -> Node:
        if isinstance(node.value, str):
            return node.made([Node("CMD-SHELL", node.place), Node(node.value, node.place)])
        found = TEXTS.read(node, where)
        if found.items and found.items[0].value not in ("NONE", "CMD", "CMD-SHELL"):
            raise where.wrong(found.items[0], "must be NONE, CMD or CMD-SHELL, followed by the command")
        return found


class Hosts:
    """Names with addresses: HOST=ADDRESS or HOST:ADDRESS in a list, or a mapping."""

    def read(self, node: Node, where: Where) -> Node:
        expect(node, where, "a mapping, or a list of HOST=ADDRESS", dict, list)
        if isinstance(node.value, list):
            return node.made([self._one(each, where.index(number)) for number, each in enumerate(node.value)])
        found = []
        for host, each in sorted(node.value.items()):
            for address in each.items if isinstance(each.value, list) else [each]:
                expect(address, where.key(host), "text: an address", str)
                found.append(Node(f"{host}={address.value.strip('[]')}", each.place))
        return node.made(found)

    def _one(self, each: Node, where: Where) -> Node:
        expect(each, where, "text: HOST=ADDRESS", str)
        separator = "=" if "=" in each.value else ":"
        host, found, address = each.value.partition(separator)
        if not found or not host or not address:
            raise where.wrong(each, f"is {each.value[:60]!r}, and must be HOST=ADDRESS")
        return each.made(f"{host}={address.strip('[]')}")

    def merge(self, base: Node, over: Node) -> Node:
        seen = {each.value for each in base.items}
        return over.made([*base.items, *(each for each in over.items if each.value not in seen)])


class Logging(Record):
    """How output is logged; options of another driver do not count."""

    def merge(self, base: Node, over: Node) -> Node:
        drivers = base.find("driver"), over.find("driver")
        return over if all(drivers) and drivers[0] != drivers[1] else Record.merge(self, base, over)


def _spread_ports(each: Node, where: Where) -> Sequence[Node] | None:
    if isinstance(each.value, dict):
        return None
    if isinstance(each.value, bool) or not isinstance(each.value, str | int | float):
        expect(each, where, "a port, text or a mapping", str)
    try:
        return [node(port, each.place) for port in ports.split(as_text(each.value))]
    except ports.BadPort as error:
        raise where.wrong(each, str(error)) from error


def _port_finished(made: Node, where: Where) -> Node:
    defaults = {"mode": Node("ingress", made.place), "protocol": Node("tcp", made.place)}
    return made.made({**defaults, **made.entries})


def _mount(each: Node, where: Where) -> Node | None:
    if not isinstance(each.value, str):
        return None
    try:
        return node(mounts.split(each.value), each.place)
    except mounts.BadMount as error:
        raise where.wrong(each, str(error)) from error


def _mount_finished(made: Node, where: Where) -> Node:
    entries = dict(made.entries)
    source, target = entries.get("source"), entries.get("target")
    if target is not None:
        entries["target"] = target.made(posixpath.normpath(target.value))
    if made.find("type") == "bind":
        if source is None:
            raise where.wrong(made, "a bind mount must have the key source")
        entries["source"] = source.made(absolute(source.value, where))
    return made.made(entries)


def _reference(each: Node, where: Where) -> Node | None:
    return node({"source": each.value}, each.place) if isinstance(each.value, str) else None


def _secret_finished(made: Node, where: Where) -> Node:
    source = made.find("source")
    if "target" in made.entries or source is None:
        return made
    return made.made({**made.entries, "target": Node(f"/run/secrets/{source}", made.place)})


def _env_file(each: Node, where: Where) -> Node | None:
    return node({"path": each.value}, each.place) if isinstance(each.value, str) else None


def _env_file_finished(made: Node, where: Where) -> Node:
    return made.made({"required": Node(True, made.place), **made.entries})


class DependsOn(MapOf):
    """What a service waits for: names, or a mapping with conditions."""

    def read(self, node: Node, where: Where) -> Node:
        if isinstance(node.value, list):
            entries = {}
            for number, each in enumerate(node.value):
                expect(each, where.index(number), "text: a service", str)
                entries[each.value] = Node({"condition": Node("service_started", each.place)}, each.place, each.place)
            node = node.made(entries)
        return MapOf.read(self, node, where)


def _dependency_finished(made: Node, where: Where) -> Node:
    return made.made({"required": Node(True, made.place), **made.entries})


class Networks(MapOf):
    """The networks that a service is on: names, or a mapping."""

    def read(self, node: Node, where: Where) -> Node:
        if isinstance(node.value, list):
            for number, each in enumerate(node.value):
                expect(each, where.index(number), "text: a network", str)
            node = node.made({each.value: Node(None, each.place, each.place) for each in node.value})
        return MapOf.read(self, node, where)


def _extends(each: Node, where: Where) -> Node | None:
    return node({"service": each.value}, each.place) if isinstance(each.value, str) else None


def _device(each: Node, where: Where) -> Node | None:
    if not isinstance(each.value, str):
        return None
    parts = each.value.split(":")
    made: dict[str, Any] = {"source": parts[0], "target": parts[0], "permissions": "rwm"}
    if len(parts) > 1 and parts[1]:
        made["target"] = parts[1]
    if len(parts) > 2:
        made["permissions"] = parts[2]
    return node(made, each.place)


def _build(each: Node, where: Where) -> Node | None:
    return node({"context": each.value}, each.place) if isinstance(each.value, str) else None


HOOKS = ListOf(
    Record(
        {"command": Command(), "user": TEXT, "privileged": Truth(), "working_dir": TEXT, "environment": Pairs(None)},
        required=("command",),
    )
)
REFERENCE: dict[str, Kind] = {"source": TEXT, "target": TEXT, "uid": TEXT, "gid": TEXT, "mode": MODE}
SECRETS = ListOf(Record(REFERENCE, short=_reference, finish=_secret_finished), unique=by("target"))
CONFIGS = ListOf(
    Record(REFERENCE, short=_reference),
    unique=lambda each: each.find("target") or f"/{each.find('source')}",
)
ULIMITS = MapOf(
    Either(INTEGER, Record({"soft": INTEGER, "hard": INTEGER}, required=("soft", "hard")), (dict,)), "[a-z]+"
)
DRIVER_OPTIONS = MapOf(Text(numbers=True))

PORT = Record(
    {
        "name": TEXT,
        "mode": TEXT,
        "host_ip": TEXT,
        "target": INTEGER,
        "published": Text(numbers=True),
        "protocol": TEXT,
        "app_protocol": TEXT,
    },
    finish=_port_finished,
)
MOUNT = Record(
    {
        "type": Text(("bind", "volume", "tmpfs", "cluster", "npipe", "image")),
        "source": TEXT,
        "target": TEXT,
        "read_only": Truth(),
        "consistency": TEXT,
        "bind": Record(
            {
                "propagation": TEXT,
                "create_host_path": Truth(),
                "recursive": Text(("enabled", "disabled", "writable", "readonly")),
                "selinux": Text(("z", "Z")),
            }
        ),
        "volume": Record({"labels": Pairs(), "nocopy": Truth(), "subpath": TEXT}),
        "tmpfs": Record({"size": SIZE, "mode": MODE_NUMBER}),
        "image": Record({"subpath": TEXT}),
    },
    required=("type",),
    short=_mount,
    finish=_mount_finished,
)
NETWORK = Record(
    {
        "aliases": NAMES,
        "interface_name": TEXT,
        "ipv4_address": TEXT,
        "ipv6_address": TEXT,
        "link_local_ips": NAMES,
        "mac_address": TEXT,
        "driver_opts": DRIVER_OPTIONS,
        "priority": INTEGER,
        "gw_priority": INTEGER,
    },
    nullable=True,
)
BUILD = Record(
    {
        "context": PathOf(context),
        "dockerfile": TEXT,
        "dockerfile_inline": TEXT,
        "entitlements": TEXTS,
        "args": Pairs(None),
        "ssh": Anything(),
        "labels": Pairs(),
        "cache_from": TEXTS,
        "cache_to": TEXTS,
        "no_cache": Truth(),
        "additional_contexts": Pairs(),
        "network": TEXT,
        "provenance": Text(numbers=True),
        "sbom": Text(numbers=True),
        "pull": Truth(),
        "target": TEXT,
        "shm_size": SIZE,
        "extra_hosts": Hosts(),
        "isolation": TEXT,
        "privileged": Truth(),
        "secrets": ListOf(Record(REFERENCE, short=_reference)),
        "tags": NAMES,
        "ulimits": ULIMITS,
        "platforms": NAMES,
    },
    short=_build,
)
_BLKIO = ListOf(Record({"path": TEXT, "rate": SIZE}, extensible=False))
_WEIGHTS = ListOf(Record({"path": TEXT, "weight": INTEGER}, extensible=False))

SERVICE = Record(
    {
        "annotations": Pairs(),
        "attach": Truth(),
        "blkio_config": Record(
            {
                **dict.fromkeys(
                    ("device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops"), _BLKIO
                ),
                "weight": INTEGER,
                "weight_device": _WEIGHTS,
            },
            extensible=False,
        ),
        "build": BUILD,
        "cap_add": NAMES,
        "cap_drop": NAMES,
        "cgroup": Text(("host", "private")),
        "cgroup_parent": TEXT,
        "command": Command(),
        "configs": CONFIGS,
        "container_name": TEXT,
        "cpu_count": INTEGER,
        "cpu_percent": FLOAT,
        "cpu_period": INTEGER,
        "cpu_quota": INTEGER,
        "cpu_rt_period": INTEGER,
        "cpu_rt_runtime": INTEGER,
        "cpu_shares": INTEGER,
        "cpus": FLOAT,
        "cpuset": TEXT,
        "credential_spec": Record({"config": TEXT, "file": TEXT, "registry": TEXT}),
        "depends_on": DependsOn(
            Record(
                {
                    "condition": Text(("service_started", "service_healthy", "service_completed_successfully")),
                    "required": Truth(),
                    "restart": Truth(),
                },
                required=("condition",),
                finish=_dependency_finished,
            ),
            NAME,
        ),
        "deploy": DEPLOY,
        "develop": Anything(),
        "device_cgroup_rules": NAMES,
        "devices": ListOf(
            Record({"source": TEXT, "target": TEXT, "permissions": TEXT}, required=("source",), short=_device),
            unique=by("target"),
        ),
        "dns": TEXT_OR_TEXTS,
        "dns_opt": NAMES,
        "dns_search": TEXT_OR_TEXTS,
        "domainname": TEXT,
        "entrypoint": Command(),
        "env_file": ListOf(
            Record(
                {"path": PathOf(absolute), "format": TEXT, "required": Truth()},
                required=("path",),
                short=_env_file,
                extensible=False,
                finish=_env_file_finished,
            ),
            unique=by("path"),
            single=True,
        ),
        "environment": Pairs(None),
        "expose": ListOf(Text(numbers=True), unique=by_value),
        "extends": Record(
            {"service": TEXT, "file": PathOf(absolute)}, required=("service",), short=_extends, extensible=False
        ),
        "external_links": NAMES,
        "extra_hosts": Hosts(),
        "gpus": GPUS,
        "group_add": ListOf(Text(numbers=True), unique=by_value),
        "healthcheck": Record(
            {
                "disable": Truth(),
                "interval": DURATION,
                "retries": INTEGER,
                "test": Test(),
                "timeout": DURATION,
                "start_period": DURATION,
                "start_interval": DURATION,
            }
        ),
        "hostname": TEXT,
        "image": TEXT,
        "init": Truth(),
        "ipc": TEXT,
        "isolation": TEXT,
        "label_file": ListOf(PathOf(absolute), unique=by_value, single=True),
        "labels": Pairs(),
        "links": NAMES,
        "logging": Logging({"driver": TEXT, "options": MapOf(Text(numbers=True, nullable=True))}),
        "mac_address": TEXT,
        "mem_limit": SIZE,
        "mem_reservation": SIZE,
        "mem_swappiness": SIZE,
        "memswap_limit": Parsed("a size, or -1", lambda text: text if text == "-1" else SIZE.parse(text)),
        "models": Anything(),
        "network_mode": TEXT,
        "networks": Networks(NETWORK, NAME),
        "oom_kill_disable": Truth(),
        "oom_score_adj": INTEGER,
        "pid": Text(nullable=True),
        "pids_limit": INTEGER,
        "platform": TEXT,
        "ports": ListOf(PORT, unique=by("host_ip", "published", "target", "protocol"), spread=_spread_ports),
        "post_start": HOOKS,
        "pre_stop": HOOKS,
        "privileged": Truth(),
        "profiles": NAMES,
        "provider": Anything(),
        "pull_policy": TEXT,
        "pull_refresh_after": TEXT,
        "read_only": Truth(),
        "restart": TEXT,
        "runtime": TEXT,
        "scale": INTEGER,
        "secrets": SECRETS,
        "security_opt": NAMES,
        "shm_size": SIZE,
        "stdin_open": Truth(),
        "stop_grace_period": DURATION,
        "stop_signal": TEXT,
        "storage_opt": Anything(),
        "sysctls": Pairs(),
        "tmpfs": TEXT_OR_TEXTS,
        "tty": Truth(),
        "ulimits": ULIMITS,
        "use_api_socket": Truth(),
        "user": TEXT,
        "userns_mode": TEXT,
        "uts": TEXT,
        "volumes": ListOf(MOUNT, unique=by("target")),
        "volumes_from": NAMES,
        "working_dir": TEXT,
    },
    wanted="a mapping",
)
