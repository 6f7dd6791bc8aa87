import pytest

from shoal.compose.errors import ComposeError, Place
from shoal.compose.names import project_name, stack_name_trouble
from shoal.compose.node import Node


def test_the_given_name_counts_then_the_file_then_the_folder() -> None:
    written = Node("My Project_1", Place("f", 1, 1))
    assert project_name("given", written, "/a/folder") == "given"
    assert project_name("", written, "/a/folder") == "myproject_1"
    assert project_name("", None, "/a/_Fold er") == "folder"


def test_a_name_of_nothing_is_refused() -> None:
    with pytest.raises(ComposeError, match="f:1:1: name: '%%' is no name"):
        project_name("", Node("%%", Place("f", 1, 1)), "/a")
    with pytest.raises(ComposeError):
        project_name("", None, "/")


@pytest.mark.parametrize("name", ["", "  ", "a" * 64, "a b", "-a", "'a'", "a/b", "a\n"])
def test_names_that_no_stack_may_have(name: str) -> None:
    assert stack_name_trouble(name)


def test_names_that_a_stack_may_have() -> None:
    assert [stack_name_trouble(name) for name in ("a", "My.stack_1-x", "a" * 63)] == [None, None, None]
