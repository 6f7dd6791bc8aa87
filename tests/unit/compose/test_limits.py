import pytest

from shoal.compose.errors import ComposeError, Place
from shoal.compose.limits import MAX_FILES, Limits
from shoal.compose.node import Node
from tests.unit.compose.files import Memory

NAMED = Node("x", Place("compose.yaml", 4, 2))


def test_a_file_that_cannot_be_read_is_told_where_it_is_named() -> None:
    with pytest.raises(ComposeError) as error:
        Limits(Memory({})).content("/project/x", 10, NAMED, "key")
    assert str(error.value) == "compose.yaml:4:2: key: /project/x cannot be read: no such file or directory"
    with pytest.raises(ComposeError, match=r"^/project/x: cannot be read: no such file"):
        Limits(Memory({})).content("/project/x", 10, None, "")


def test_a_long_file_is_refused() -> None:
    with pytest.raises(ComposeError, match="/project/x has more than 10 bytes"):
        Limits(Memory({"x": "y" * 11})).content("/project/x", 10, NAMED, "key")


def test_files_and_their_bytes_are_counted() -> None:
    limits = Limits(Memory({"x": "y" * 10}), bytes_left=25)
    limits.content("/project/x", 10, NAMED, "key")
    limits.content("/project/x", 10, NAMED, "key")
    with pytest.raises(ComposeError, match="together"):
        limits.content("/project/x", 10, NAMED, "key")
    limits = Limits(Memory({"x": ""}))
    for _ in range(MAX_FILES):
        limits.content("/project/x", 10, NAMED, "key")
    with pytest.raises(ComposeError, match="more than 1,000 files"):
        limits.content("/project/x", 10, NAMED, "key")
