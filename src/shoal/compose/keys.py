"""The keys of a compose file beside those of a service: networks, volumes, secrets, configs, and the file itself."""

from shoal.compose.kinds import (
    Anything,
    Kind,
    ListOf,
    MapOf,
    Pairs,
    PathOf,
    Record,
    Text,
    Truth,
    Where,
)
from shoal.compose.node import Node, node
from shoal.compose.paths import absolute
from shoal.compose.service_keys import DRIVER_OPTIONS, SERVICE
from shoal.compose.values import NAME, TEXT


class External:
    """Whether something is made elsewhere: a truth, or (of old) a mapping with its name there."""

    def read(self, node: Node, where: Where) -> Node:
        if isinstance(node.value, dict):
            return Record({"name": TEXT}).read(node, where)
        return Truth().read(node, where)

    def merge(self, base: Node, over: Node) -> Node:
        return over


def _external_named(made: Node, where: Where) -> Node:
    """Move the name in the old form of `external` to where it belongs."""
    entries = dict(made.entries)
    external = entries.get("external")
    if external is None:
        return made
    if isinstance(external.value, dict):
        name = external.get("name")
        if name is not None and "name" in entries and made.find("name") != name.value:
            raise where.wrong(external, "name and external.name differ: use name alone")
        if name is not None:
            entries.setdefault("name", name)
        entries["external"] = external.made(True)
    return made.made(entries)


class IPAMConfigs(ListOf):
    """Subnets: a later one with the same subnet is merged into the first."""

    def merge(self, base: Node, over: Node) -> Node:
        found: dict[object, Node] = {}
        for each in [*base.items, *over.items]:
            subnet = each.find("subnet")
            found[subnet] = self.item.merge(found[subnet], each) if subnet in found else each
        return over.made(list(found.values()))


IPAM = Record(
    {
        "driver": TEXT,
        "config": IPAMConfigs(
            Record(
                {
                    "subnet": TEXT,
                    "ip_range": TEXT,
                    "gateway": TEXT,
                    "aux_addresses": MapOf(TEXT),
                }
            )
        ),
        "options": MapOf(TEXT),
    }
)
NETWORK = Record(
    {
        "name": TEXT,
        "driver": TEXT,
        "driver_opts": DRIVER_OPTIONS,
        "ipam": IPAM,
        "external": External(),
        "internal": Truth(),
        "enable_ipv4": Truth(),
        "enable_ipv6": Truth(),
        "attachable": Truth(),
        "labels": Pairs(),
    },
    nullable=True,
    finish=_external_named,
)


def _volume_finished(made: Node, where: Where) -> Node:
    made = _external_named(made, where)
    options = made.get("driver_opts")
    device = made.get("driver_opts", "device")
    if options is None or device is None or made.find("driver") != "local" or options.find("o") != "bind":
        return made
    bound = {**options.entries, "device": device.made(absolute(device.value, where))}
    return made.made({**made.entries, "driver_opts": options.made(bound)})


VOLUME = Record(
    {"name": TEXT, "driver": TEXT, "driver_opts": DRIVER_OPTIONS, "external": External(), "labels": Pairs()},
    nullable=True,
    finish=_volume_finished,
)
_CONTENT: dict[str, Kind] = {
    "name": TEXT,
    "environment": TEXT,
    "file": PathOf(absolute),
    "external": External(),
    "labels": Pairs(),
    "template_driver": TEXT,
}
SECRET = Record({**_CONTENT, "driver": TEXT, "driver_opts": DRIVER_OPTIONS}, finish=_external_named)
CONFIG = Record({**_CONTENT, "content": TEXT}, finish=_external_named)


def _include(each: Node, where: Where) -> Node | None:
    return node({"path": each.value}, each.place) if isinstance(each.value, str) else None


_PATHS = ListOf(TEXT, single=True)
FILE = Record(
    {
        "version": Text(numbers=True),
        "name": TEXT,
        "include": ListOf(
            Record(
                {"path": _PATHS, "env_file": _PATHS, "project_directory": TEXT},
                required=("path",),
                short=_include,
                extensible=False,
            )
        ),
        "services": MapOf(SERVICE, NAME, nullable=True),
        "models": Anything(),
        "networks": MapOf(NETWORK, NAME, nullable=True),
        "volumes": MapOf(VOLUME, NAME, nullable=True),
        "secrets": MapOf(SECRET, NAME, nullable=True),
        "configs": MapOf(CONFIG, NAME, nullable=True),
    },
)
