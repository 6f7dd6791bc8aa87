"""Which address a joining manager gets. tests/cluster/test_managers.py joins and leaves with a real etcd."""

import pytest

from shoal.errors import InvalidArgument
from shoal.manager.membership.managers import joining_address


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("10.0.0.1:2377", "10.0.0.1:2377"),
        ("[fd00::1]:2377", "[fd00::1]:2377"),
        ("0.0.0.0:2377", "10.0.0.9:2377"),
        (":2378", "10.0.0.9:2378"),
        ("[::]:2377", "10.0.0.9:2377"),
    ],
)
def test_an_unspecified_host_is_where_the_call_comes_from(said: str, known: str) -> None:
    """Known fault 75: what a joiner says of itself counts, and else alone where it comes from."""
    assert joining_address(said, "10.0.0.9:40000") == known


@pytest.mark.parametrize(
    "said", ["", "10.0.0.1", "10.0.0.1:", "10.0.0.1:x", "10.0.0.1:0", "10.0.0.1:70000", "host:2377"]
)
def test_what_is_no_address_is_refused(said: str) -> None:
    with pytest.raises(InvalidArgument, match=f"invalid address {said} in raft join request"):
        joining_address(said, "10.0.0.9:40000")
