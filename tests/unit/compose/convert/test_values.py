import pytest

from shoal.compose.convert.values import cpus, given, nanos, number
from shoal.compose.errors import ComposeError, Place
from shoal.compose.node import Node

AT = Place("f", 1, 1)


def test_canonical_values_become_numbers() -> None:
    assert nanos(Node("1m30s", AT)) == 90 * 10**9
    assert nanos(None) is None
    assert [number(Node("52428800", AT)), number(None)] == [52428800, 0]
    assert [cpus(Node(0.5, AT), "k"), cpus(None, "k")] == [500_000_000, 0]
    assert given(A=1, B=None, C=0) == {"A": 1, "C": 0}


def test_parts_of_a_billionth_are_refused() -> None:
    with pytest.raises(ComposeError, match=r"f:1:1: limits.cpus: 1e-12 is no number of processors"):
        cpus(Node(1e-12, AT), "limits.cpus")
