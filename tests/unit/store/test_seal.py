import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import DamagedState, InvalidArgument
from shoal.store.seal import OVERHEAD_BYTES, Sealer

ONE, TWO = b"1" * 32, b"2" * 32


@given(st.binary(max_size=50), st.binary(max_size=2000))
def test_what_was_sealed_opens(key: bytes, value: bytes) -> None:
    sealer = Sealer({1: ONE}, 1)
    sealed = sealer.seal(key, value)
    assert sealer.open(key, sealed) == value
    assert len(sealed) == len(value) + OVERHEAD_BYTES


def test_a_value_is_not_to_be_read_in_what_is_stored_and_never_looks_the_same() -> None:
    sealer = Sealer({1: ONE}, 1)
    assert b"password" not in sealer.seal(b"k", b"password")
    assert sealer.seal(b"k", b"password") != sealer.seal(b"k", b"password")


@given(st.data())
def test_any_changed_byte_is_noticed_and_the_key_named(data: st.DataObject) -> None:
    sealer = Sealer({1: ONE}, 1)
    sealed = bytearray(sealer.seal(b"objects/tasks/t1", b"value"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedState, match="etcd key objects/tasks/t1 is damaged"):
        sealer.open(b"objects/tasks/t1", bytes(sealed))


def test_a_value_under_another_name_does_not_open() -> None:
    sealer = Sealer({1: ONE}, 1)
    with pytest.raises(DamagedState, match="objects/secrets/b"):
        sealer.open(b"objects/secrets/b", sealer.seal(b"objects/secrets/a", b"value"))


@pytest.mark.parametrize("stored", [b"", b"\x01\x01", b"plain text that was never sealed by anybody"])
def test_what_was_never_sealed_is_damaged(stored: bytes) -> None:
    with pytest.raises(DamagedState, match="not a sealed value"):
        Sealer({1: ONE}, 1).open(b"k", stored)


def test_keys_are_rotated_by_knowing_both() -> None:
    old = Sealer({1: ONE}, 1).seal(b"k", b"value")
    both = Sealer({1: ONE, 2: TWO}, 2)
    assert both.open(b"k", old) == b"value"
    new = both.seal(b"k", b"value")
    assert Sealer({2: TWO}, 2).open(b"k", new) == b"value"
    with pytest.raises(DamagedState, match="data key 2, which this manager does not have"):
        Sealer({1: ONE}, 1).open(b"k", new)


def test_a_wrong_key_does_not_open() -> None:
    with pytest.raises(DamagedState, match="does not open"):
        Sealer({1: TWO}, 1).open(b"k", Sealer({1: ONE}, 1).seal(b"k", b"value"))


@pytest.mark.parametrize(("keys", "current"), [({1: b"short"}, 1), ({256: ONE}, 256), ({1: ONE}, 2)])
def test_keys_are_checked(keys: dict[int, bytes], current: int) -> None:
    with pytest.raises(InvalidArgument, match="data key"):
        Sealer(keys, current)
