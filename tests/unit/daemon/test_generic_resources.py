"""`--node-generic-resource`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.daemon.generic_resources import parse
from shoal.errors import InvalidArgument


def test_names_and_counts() -> None:
    assert parse(["gpu=a", "ssd=3", "gpu = b", "fpga=0"]) == (("gpu", "a"), ("gpu", "b"), ("ssd", 3), ("fpga", 0))
    assert parse([]) == ()
    assert parse(["gpu=99999999999999999999"]) == (("gpu", "99999999999999999999"),)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (["gpu"], "incorrect term gpu, missing '=' or malformed expression"),
        (["gpu=a=b"], "incorrect term gpu=a=b, missing '=' or malformed expression"),
        (["gpu=-1"], "cannot ask for negative resource gpu"),
        (["gpu=1", "gpu=2"], "mixed discrete and named resources in expression 'gpu=[1 2]'"),
        (["gpu=1", "gpu=a"], "mixed discrete and named resources in expression 'gpu=[1 a]'"),
    ],
)
def test_docker_words_for_what_is_wrong(terms: list[str], words: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse(terms)
    assert str(raised.value) == f"could not parse GenericResource: {words}"


@given(st.lists(st.text("ab=01-+ ", max_size=8), max_size=5))
def test_any_terms_are_read_or_refused(terms: list[str]) -> None:
    try:
        found = parse(terms)
    except InvalidArgument:
        found = ()
    assert all(kind == kind.strip() and isinstance(value, str | int) for kind, value in found)
