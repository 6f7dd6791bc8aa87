"""What nf_tables says of a namespace, read from bytes as a kernel sends them, and from whatever else may come."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from shoal.network.kernel import rulesets
from shoal.network.rtnetlink import Reply, attribute

HEADER = bytes(4)


def element(packed: bytes) -> bytes:
    return attribute(1, attribute(1, attribute(1, packed)))


def test_answers_are_read() -> None:
    assert rulesets.generation([Reply(0xA0F, 1, HEADER + attribute(1, b"\0\0\1\2"))]) == 258
    tables = [Reply(0xA00, 1, HEADER + attribute(1, b"a\0") + attribute(3, b"\0\0\0\5"))] * 2
    assert rulesets.objects(tables) == 12
    four, six = ip_address("10.0.1.3"), ip_address("fd00::3")
    told = HEADER + attribute(1, b"t\0") + attribute(0x8003, element(four.packed) + element(six.packed))
    assert list(rulesets.addresses([Reply(0xA0C, 1, told)])) == [four, six]


def test_other_answers_are_none() -> None:
    other = [Reply(0x10, 1, HEADER + attribute(1, b"\0\0\1\2"))]
    assert (rulesets.generation(other), rulesets.objects(other), list(rulesets.addresses(other))) == (0, 0, [])
    assert rulesets.generation([Reply(0xA0F, 1, HEADER)]) == 0


@given(st.binary(max_size=80), st.sampled_from([0xA00, 0xA0C, 0xA0F]))
def test_whatever_comes_is_read(body: bytes, kind: int) -> None:
    replies = [Reply(kind, 1, body)]
    assert rulesets.generation(replies) >= 0
    assert rulesets.objects(replies) >= 0
    assert all(address.version in (4, 6) for address in rulesets.addresses(replies))


def test_questions_name_what_they_ask_for() -> None:
    assert rulesets.get_generation().type == 0xA10
    assert rulesets.list_tables().type == 0xA01
    assert rulesets.list_elements("shoal_vips", "vips4").body.count(b"vips") == 2
