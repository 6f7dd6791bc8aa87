"""All CDI devices of a host: decides which of them are offered to the swarm, and finds those that a task claimed. Pure.

In: the specs of the CDI files, each with the priority of its folder. Out: a `Catalog`.

Vendors give one device several names (index, UUID), and have names for sets of devices (`all`). Each device is offered
once: under the first of the names with the same device files. A name whose files include all files of another name is a
set and is not offered. The kind of a resource is the class of the device: `nvidia.com/gpu` is offered as `gpu`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shoal.errors import FailedPrecondition
from shoal.runtime.cdi_spec import NO_EDITS, CdiSpec, Edits

# A manager refuses a node whose description is longer than 65,536 bytes.
MAX_OFFERED = 128
EVERYTHING = "all"  # vendors' name for the set of all their devices


@dataclass(frozen=True, slots=True)
class Offer:
    """One named resource of this node: the kind and value that services ask for, and its device."""

    kind: str
    value: str
    device: str  # vendor/class=name


@dataclass(frozen=True, slots=True)
class Catalog:
    """The devices of a host by their full names (vendor/class=name), and their edits of a container's config."""

    devices: Mapping[str, Edits] = field(default_factory=dict)
    commons: Mapping[str, tuple[Edits, ...]] = field(default_factory=dict)  # the common edits of each device's file
    offers: tuple[Offer, ...] = ()
    problems: tuple[str, ...] = ()

    def claimed(self, resources: Iterable[tuple[str, str]], own: frozenset[str]) -> list[str]:
        """Return the devices of named resources. Kinds in `own`, which the configuration offers, need no device.

        Raises FailedPrecondition for a resource without a device, for example because the device has gone.
        """
        by_resource = {(offer.kind, offer.value): offer.device for offer in self.offers}
        found: list[str] = []
        lost: list[str] = []
        for kind, value in resources:
            device = by_resource.get((kind, value)) or f"{kind}={value}"
            if device in self.devices:
                found.append(device)
            elif kind not in own:
                lost.append(device)
        if lost:
            raise FailedPrecondition(f"CDI device injection failed: unresolvable CDI devices {', '.join(lost)}")
        return found

    def edits(self, devices: Sequence[str]) -> Edits:
        """Return the edits of these devices together. The common edits of their files come first, each once."""
        parts = list(dict.fromkeys(part for device in devices for part in self.commons[device]))
        return joined([*parts, *(self.devices[device] for device in devices)])


def joined(parts: Iterable[Edits]) -> Edits:
    """Return several edits as one, in their order."""
    result = NO_EDITS
    for part in parts:
        result = Edits(
            env=result.env + part.env,
            nodes=result.nodes + part.nodes,
            mounts=result.mounts + part.mounts,
            hooks=result.hooks + part.hooks,
            gids=result.gids + part.gids,
            intel_rdt=part.intel_rdt or result.intel_rdt,
        )
    return result


def catalog(files: Sequence[tuple[int, str, CdiSpec]], own: frozenset[str] = frozenset()) -> Catalog:
    """Return the devices of files, each with its priority and its path.

    The higher priority wins. If two files of the same priority have a device, it is left out. Kinds in `own` are not
    offered, because the configuration offers them.
    """
    best: dict[str, tuple[int, str, CdiSpec, Edits]] = {}
    disputed: dict[str, int] = {}
    problems: list[str] = []
    for priority, path, spec in sorted(files, key=lambda each: each[:2]):
        for name, edits in spec.devices.items():
            device = f"{spec.kind}={name}"
            held = best.get(device)
            if held is not None and held[0] == priority:
                problems.append(f"conflicting device {device} in {held[1]} and {path}")
                disputed[device] = priority
            best[device] = (priority, path, spec, edits)
    for device, priority in disputed.items():
        if best[device][0] == priority:
            del best[device]
    devices = {device: edits for device, (*_, edits) in best.items()}
    commons = {device: (spec.edits,) if spec.edits else () for device, (_, _, spec, _) in best.items()}
    offers, beyond = _offers(devices, own)
    if beyond:
        problems.append(f"{beyond} devices more than the {MAX_OFFERED} that a node may offer")
    return Catalog(devices, commons, offers, tuple(problems))


def _offers(devices: Mapping[str, Edits], own: frozenset[str]) -> tuple[tuple[Offer, ...], int]:
    by_kind: dict[str, dict[str, Edits]] = {}
    for device, edits in devices.items():
        kind, _, name = device.partition("=")
        by_kind.setdefault(kind, {})[name] = edits
    kinds_of: dict[str, list[str]] = {}
    for kind in by_kind:
        kinds_of.setdefault(kind.partition("/")[2], []).append(kind)
    offers: list[Offer] = []
    for device_class, kinds in sorted(kinds_of.items()):
        if device_class in own:
            continue
        for kind in sorted(kinds):
            for name in _distinct(by_kind[kind]):
                # Two vendors of one class may both have a device `0`.
                value = name if len(kinds) == 1 else f"{kind}={name}"
                if kind not in own:
                    offers.append(Offer(device_class, value, f"{kind}={name}"))
    return tuple(offers[:MAX_OFFERED]), max(len(offers) - MAX_OFFERED, 0)


def _distinct(named: Mapping[str, Edits]) -> list[str]:
    """Return one name of each device among those of a kind."""
    files = {name: frozenset(node.path for node in edits.nodes) for name, edits in named.items()}
    seen: set[frozenset[str] | Edits] = set()
    chosen: list[str] = []
    for name, edits in named.items():
        key: frozenset[str] | Edits = files[name] or edits
        if (name == EVERYTHING and len(named) > 1) or key in seen:
            continue
        seen.add(key)
        chosen.append(name)
    sets = {files[name] for name in chosen if files[name]}
    return [name for name in chosen if not any(other < files[name] for other in sets)]
