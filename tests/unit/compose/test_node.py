from shoal.compose.errors import Place
from shoal.compose.node import Node, kind_of, node, plain, size

AT = Place("f", 1, 1)
KINDS: tuple[object, ...] = ({}, [], None, True, 1, 1.5, "x")


def test_plain_values_become_nodes_and_plain_values_again() -> None:
    value = {"a": [1, "two", {"b": None}], "c": True}
    assert plain(node(value, AT)) == value
    assert node(value, AT).find("a") == [1, "two", {"b": None}]
    assert node(value, AT).find("a", "b") is None
    assert node(value, AT).get("c") == Node(True, AT)


def test_a_shared_node_counts_each_time() -> None:
    shared = node([1, 2], AT)
    assert size(Node([shared, shared], AT), 100) == 7
    assert size(Node([shared] * 1000, AT), 10) == 11


def test_kinds_have_words() -> None:
    assert [kind_of(each) for each in KINDS] == [
        *("a mapping", "a list", "empty", "true or false", "a number", "a number", "text"),
    ]
