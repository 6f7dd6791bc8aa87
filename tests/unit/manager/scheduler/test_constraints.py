"""Placement constraints, as Docker reads them."""

import re

import pytest

from shoal.api import v1 as api
from shoal.errors import ShoalError
from shoal.manager.scheduler import constraints
from tests.unit.manager.builders import node


def holds(expression: str, changed: api.Node | None = None) -> bool:
    subject = changed if changed is not None else node("Host1", labels={"disk": "SSD"})
    return constraints.matches(constraints.parse([expression]), subject)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("node.id", "constraint expected one operator from ==, !="),
        ("node.id=x", "constraint expected one operator from ==, !="),
        ("no de==x", "key 'no de' is invalid"),
        ("1a==x", "key '1a' is invalid"),
        ("==x", "key '' is invalid"),
        ("node.id==", "value '' is invalid"),
        ("node.id==a~b", "value 'a~b' is invalid"),
        ("node.id===x", "value '=x' is invalid"),
    ],
)
def test_what_cannot_be_parsed_is_refused_in_dockers_words(expression: str, message: str) -> None:
    with pytest.raises(ShoalError, match=f"^{re.escape(message)}$"):
        constraints.parse([expression])


def test_values_match_without_case_and_label_keys_with() -> None:
    assert holds("node.hostname == host1")
    assert not holds("node.hostname != host1")
    assert holds("NODE.Labels.disk==ssd")
    assert not holds("node.labels.Disk==ssd")
    assert holds("node.labels.Disk != ssd")
    assert holds("node.role==worker")
    assert not holds("node.role==manager")


def test_a_missing_label_counts_as_empty() -> None:
    assert not holds("node.labels.zone==a")
    assert holds("node.labels.zone!=a")
    assert holds("engine.labels.zone!=a")


def test_an_unknown_key_is_never_satisfied() -> None:
    assert not holds("node.colour==red")
    assert not holds("node.colour!=red")
    assert not holds("node.labels.==x")


def test_addresses_are_single_or_networks() -> None:
    at = node("n")
    at.status.addr = "10.1.2.3"
    assert holds("node.ip==10.1.2.3", at)
    assert holds("node.ip==10.1.0.0/16", at)
    assert holds("node.ip!=10.2.0.0/16", at)
    assert not holds("node.ip==fd00::/8", at)
    assert not holds("node.ip!=nonsense", at)
    assert holds("node.ip==::ffff:10.1.2.3", at)
    # Go does not accept a netmask in a network, so no node satisfies it.
    assert not holds("node.ip==10.0.0.0/255.0.0.0", at)
    assert not holds("node.ip!=11.0.0.0/255.0.0.0", at)


def test_a_node_without_an_address_is_in_no_network() -> None:
    assert not holds("node.ip==10.1.0.0/16", node("n"))
    assert holds("node.ip!=10.1.0.0/16", node("n"))


@pytest.mark.parametrize("key", ["node.hostname", "node.platform.os", "node.platform.arch"])
def test_a_node_that_was_never_here_has_empty_values(key: str) -> None:
    absent = api.Node(id="n")
    assert not holds(f"{key}==x", absent)
    assert holds(f"{key}!=x", absent)


def test_the_architecture_has_no_aliases_here() -> None:
    made = node("n")
    made.description.platform.architecture = "x86_64"
    assert holds("node.platform.arch==x86_64", made)
    assert not holds("node.platform.arch==amd64", made)


def test_reading_a_label_leaves_the_node_as_it_was() -> None:
    subject = node("n")
    before = subject.SerializeToString()
    holds("node.labels.x==1", subject)
    assert subject.SerializeToString() == before
