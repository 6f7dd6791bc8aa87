"""In which order the kernel is told, and what is left after a failure. A kernel in memory; the real one: cluster."""

import errno
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self, cast

import pytest

from shoal.network.encryption import encrypter, xfrm
from shoal.network.encryption.encrypter import Encrypter, Unguarded
from shoal.network.encryption.wanted import Association, Encryption, Policy, encryption
from shoal.network.kernel.nftables import Nftables, Refused
from shoal.network.namespaces import Namespaces
from shoal.network.rtnetlink import Reply, Request
from tests.unit.network.encryption.test_wanted import HERE, KEYS, STATE, THERE

NOTHING = Encryption(HERE)
WANTED = encryption([STATE], KEYS, HERE)
STRANGER = Association(ip_address("192.0.2.7"), ip_address("192.0.2.8"), 5, bytes(16))


class Kernel:
    """What XFRM and nft keep, and in which order it changed."""

    def __init__(self) -> None:
        self.associations: dict[tuple[object, int], Association] = {}
        self.policies: dict[object, Policy] = {}
        self.guarded: set[int] = set()
        self.told: list[str] = []
        self.refuses: set[int] = set()
        self.refuses_rules = False

    # A netlink socket.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *words: object) -> None:
        pass

    def run(self, *requests: Request) -> list[Reply]:
        replies = []
        for request in requests:
            if request.type == xfrm.GET_ASSOCIATION:
                found = self.associations.values()
                replies += [Reply(xfrm.NEW_ASSOCIATION, 1, xfrm.add_association(one).body) for one in found]
            elif request.type == xfrm.GET_POLICY:
                replies += [Reply(xfrm.NEW_POLICY, 1, xfrm.set_policy(one).body) for one in self.policies.values()]
        return replies

    def try_all(self, requests: Sequence[Request]) -> list[int]:
        return [self._try(request) for request in requests]

    def _try(self, request: Request) -> int:
        if request.type in self.refuses:
            return errno.EPERM
        if request.type == xfrm.NEW_ASSOCIATION:
            (one,) = xfrm.associations([Reply(xfrm.NEW_ASSOCIATION, 1, request.body)])
            self.told.append(f"+{one.spi:x}")
            self.associations[one.destination, one.spi] = one
        elif request.type == xfrm.UPDATE_POLICY:
            (rule,) = xfrm.policies([Reply(xfrm.NEW_POLICY, 1, request.body)])
            self.told.append(f"policy {rule.spi:x}")
            self.policies[rule.destination] = rule
        elif request.type == xfrm.DEL_ASSOCIATION:
            gone = next(key for key, one in self.associations.items() if xfrm.delete_association(one) == request)
            self.told.append(f"-{gone[1]:x}")
            del self.associations[gone]
        elif request.type == xfrm.DEL_POLICY:
            away = next(key for key, rule in self.policies.items() if xfrm.delete_policy(rule) == request)
            self.told.append("no policy")
            del self.policies[away]
        return 0


class Rules:
    """nft: which VXLAN ids are guarded."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def run(self, text: str) -> str:
        guarded = self.kernel.guarded
        if text.startswith("list"):
            if not guarded:
                raise Refused("no such table")
            return str(sorted(guarded))
        if self.kernel.refuses_rules:
            raise Refused("not today")
        if "delete table" in text:
            guarded.clear()
        guarded.update(int(line.split()[9]) for line in text.splitlines() if line.startswith("add rule"))
        self.kernel.told.append(f"guards {sorted(guarded)}")
        return ""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(encrypter, "NetlinkSocket", lambda **kind: made)
    return made


def new(kernel: Kernel) -> Encrypter:
    unused = cast("Namespaces", None)
    return Encrypter(Path("/nowhere"), "t", unused, cast("Nftables", Rules(kernel)))


def apply(made: Encrypter, wanted: Encryption) -> None:
    made.prepare(wanted)
    made.finish(wanted)


def is_so(kernel: Kernel, wanted: Encryption) -> bool:
    return (
        set(kernel.associations.values()) == wanted.associations
        and set(kernel.policies.values()) == wanted.policies
        and kernel.guarded == wanted.vnis
    )


def test_the_guard_comes_before_all_and_goes_after_all(kernel: Kernel) -> None:
    made = new(kernel)
    apply(made, WANTED)
    assert is_so(kernel, WANTED)
    assert kernel.told[0] == "guards [4097, 4098]"
    assert kernel.told[-2].startswith("policy")
    del kernel.told[:]
    made.prepare(NOTHING)
    assert kernel.told == []  # the overlays are still there
    made.finish(NOTHING)
    assert is_so(kernel, NOTHING)
    assert kernel.told[0] == "no policy"
    assert kernel.told[-1] == "guards []"


def test_where_nothing_is_encrypted_nothing_is_told(kernel: Kernel) -> None:
    apply(new(kernel), NOTHING)
    assert kernel.told == []


def test_keys_rotate_without_a_gap(kernel: Kernel) -> None:
    made = new(kernel)
    apply(made, WANTED)
    del kernel.told[:]
    later = [replace(KEYS[1], lamport_time=10, key="a" * 32), KEYS[0], KEYS[2]]
    after = encryption([STATE], later, HERE)
    apply(made, after)
    assert is_so(kernel, after)
    new_spis = {f"+{one.spi:x}" for one in after.associations - WANTED.associations}
    assert set(kernel.told[:2]) == new_spis
    assert kernel.told[2].startswith("policy")
    assert [word[0] for word in kernel.told[3:]] == ["-", "-"]


def test_what_is_as_it_was_made_is_left_and_what_others_took_is_made_again(kernel: Kernel) -> None:
    made = new(kernel)
    kernel.associations[STRANGER.destination, STRANGER.spi] = STRANGER
    apply(made, WANTED)
    del kernel.told[:]
    made.look_again()
    apply(made, WANTED)
    assert kernel.told == []
    kernel.policies.clear()
    kernel.guarded.clear()
    made.look_again()
    apply(made, WANTED)
    assert kernel.policies
    assert kernel.guarded == WANTED.vnis
    assert STRANGER in kernel.associations.values()


def test_a_program_that_starts_anew_goes_on_from_what_there_is(kernel: Kernel) -> None:
    apply(new(kernel), WANTED)
    (one,) = [one for one in WANTED.associations if one.source == HERE]
    kernel.associations[one.destination, one.spi] = replace(one, key=b"another " * 2)  # of another swarm
    del kernel.told[:]
    apply(new(kernel), WANTED)
    assert is_so(kernel, WANTED)
    assert [word for word in kernel.told if word[0] in "+-"] == [f"-{one.spi:x}", f"+{one.spi:x}"]
    apply(new(kernel), NOTHING)
    assert is_so(kernel, NOTHING)


def test_a_node_with_another_address_leaves_nothing_of_the_former(kernel: Kernel) -> None:
    made = new(kernel)
    apply(made, WANTED)
    moved = encryption([STATE], KEYS, ip_address("192.168.1.12"))
    apply(made, moved)
    assert is_so(kernel, moved)


def test_without_a_guard_nothing_is_made_and_without_an_association_all_is_tried_again(kernel: Kernel) -> None:
    made = new(kernel)
    kernel.refuses_rules = True
    with pytest.raises(Unguarded, match="not today"):
        made.prepare(WANTED)
    assert not kernel.associations
    kernel.refuses_rules = False
    kernel.refuses = {xfrm.NEW_ASSOCIATION}
    apply(made, WANTED)
    assert made.refused == {THERE: errno.EPERM}
    assert not kernel.associations
    kernel.refuses = set()
    apply(made, WANTED)
    assert is_so(kernel, WANTED)
    assert made.refused == {}


def test_what_the_kernel_lacks_is_said(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent:
        def create(self, path: Path) -> Any:
            raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

        def remove(self, path: Path) -> None:
            pass

    made = Encrypter(Path("/nowhere"), "t", cast("Namespaces", Absent()), cast("Nftables", Rules(kernel)))
    assert made.lacking() == "this kernel has no ESP with AES-GCM (Protocol not supported)"


def test_peers_are_of_both_directions() -> None:
    assert {one.source for one in WANTED.associations} == {HERE, THERE}
