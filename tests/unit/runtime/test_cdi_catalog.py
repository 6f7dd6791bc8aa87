"""Which devices a host has and offers, and which of them a task has reserved."""

import pytest

from shoal.errors import FailedPrecondition
from shoal.runtime.cdi_catalog import MAX_OFFERED, Offer, catalog
from shoal.runtime.cdi_spec import CdiSpec, DeviceNode, Edits

ETC, RUN = 0, 1
CONTROL = Edits(nodes=(DeviceNode("/dev/control"),), env=("COMMON=1",))


def files(*paths: str) -> Edits:
    return Edits(nodes=tuple(DeviceNode(path) for path in paths))


def gpus(kind: str = "nvidia.com/gpu", **devices: Edits) -> CdiSpec:
    return CdiSpec(kind, {name.lstrip("_"): edits for name, edits in devices.items()}, CONTROL)


def test_each_device_is_offered_once_by_its_class() -> None:
    """As NVIDIA's tool writes them: by index, by UUID, and all together."""
    spec = gpus(
        _0=files("/dev/n0"), _1=files("/dev/n1"), GPUa=files("/dev/n0"), GPUb=files("/dev/n1"),
        all=files("/dev/n0", "/dev/n1"),
    )  # fmt: skip
    found = catalog([(ETC, "/etc/cdi/n.yaml", spec)])
    assert found.offers == (
        Offer("gpu", "0", "nvidia.com/gpu=0"),
        Offer("gpu", "1", "nvidia.com/gpu=1"),
    )
    assert len(found.devices) == 5
    assert found.problems == ()


def test_all_is_offered_where_it_is_the_only_one() -> None:
    assert [offer.value for offer in catalog([(ETC, "a", gpus(all=files("/dev/n0")))]).offers] == ["all"]


def test_a_set_of_devices_is_none_by_itself_whatever_its_name() -> None:
    spec = gpus(pair=files("/dev/n0", "/dev/n1"), a=files("/dev/n0"), b=files("/dev/n1"))
    assert [offer.value for offer in catalog([(ETC, "a", spec)]).offers] == ["a", "b"]


def test_devices_without_files_are_told_apart_by_what_they_change() -> None:
    spec = gpus(a=Edits(env=("X=1",)), b=Edits(env=("X=2",)), c=Edits(env=("X=1",)))
    assert [offer.value for offer in catalog([(ETC, "a", spec)]).offers] == ["a", "b"]


def test_two_vendors_of_one_class_are_told_apart() -> None:
    found = catalog([(ETC, "n", gpus(_0=files("/dev/n0"))), (ETC, "a", gpus("amd.com/gpu", _0=files("/dev/a0")))])
    assert found.offers == (
        Offer("gpu", "amd.com/gpu=0", "amd.com/gpu=0"),
        Offer("gpu", "nvidia.com/gpu=0", "nvidia.com/gpu=0"),
    )
    assert found.claimed([("gpu", "amd.com/gpu=0")], frozenset()) == ["amd.com/gpu=0"]


def test_kinds_of_the_configuration_are_not_offered_again() -> None:
    spec = gpus(_0=files("/dev/n0"))
    assert catalog([(ETC, "n", spec)], frozenset({"gpu"})).offers == ()
    own = frozenset({"nvidia.com/gpu"})
    found = catalog([(ETC, "n", spec)], own)
    assert found.offers == ()
    # By its full name it is the device. Another configured resource is no device, and needs none.
    assert found.claimed([("nvidia.com/gpu", "0"), ("nvidia.com/gpu", "spare")], own) == ["nvidia.com/gpu=0"]


def test_the_later_folder_wins_and_a_conflict_in_one_is_nobodys() -> None:
    old, new = gpus(_0=files("/dev/old")), gpus(_0=files("/dev/new"))
    assert catalog([(RUN, "b", new), (ETC, "a", old)]).devices == {"nvidia.com/gpu=0": files("/dev/new")}
    found = catalog([(ETC, "a", old), (ETC, "b", new)])
    assert (found.devices, found.offers) == ({}, ())
    assert found.problems == ("conflicting device nvidia.com/gpu=0 in a and b",)
    third = gpus(_0=files("/dev/third"))
    healed = catalog([(ETC, "a", old), (ETC, "b", new), (RUN, "c", third)])
    assert healed.devices == {"nvidia.com/gpu=0": files("/dev/third")}


def test_no_more_are_offered_than_a_node_may_describe() -> None:
    found = catalog(
        [(ETC, "a", gpus("nvidia.com/gpu", **{f"d{n}": files(f"/dev/{n}") for n in range(MAX_OFFERED + 2)}))]
    )
    assert len(found.offers) == MAX_OFFERED
    assert found.problems == ("2 devices more than the 128 that a node may offer",)


def test_what_comes_with_a_file_comes_once() -> None:
    found = catalog([(ETC, "a", gpus(_0=files("/dev/n0"), _1=files("/dev/n1")))])
    edits = found.edits(found.claimed([("gpu", "0"), ("gpu", "1")], frozenset()))
    assert [node.path for node in edits.nodes] == ["/dev/control", "/dev/n0", "/dev/n1"]
    assert edits.env == ("COMMON=1",)


def test_a_device_that_is_gone_is_named() -> None:
    found = catalog([(ETC, "a", gpus(_0=files("/dev/n0")))])
    with pytest.raises(FailedPrecondition) as raised:
        found.claimed([("gpu", "0"), ("gpu", "7")], frozenset({"ssd"}))
    assert str(raised.value) == "CDI device injection failed: unresolvable CDI devices gpu=7"
    assert found.claimed([("ssd", "a")], frozenset({"ssd"})) == []
