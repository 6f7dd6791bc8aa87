"""A wanted state that is told by its changes is the one that is told whole."""

import json
from dataclasses import replace

import pytest
from hypothesis import given

from shoal.errors import InvalidArgument
from shoal.network.process.changes import change, changed
from shoal.network.wanted import Gossip, Overlay, Sandbox, Wanted
from tests.unit.network.process.wanteds import sequences

BLUE, RED = Overlay("blue", "blue", ()), Overlay("red", "red", ())
A, B = Sandbox("a", "web.a", "/n/a"), Sandbox("b", "web.b", "/n/b")
BOTH = Wanted(7, None, (BLUE, RED), (A, B))


@given(sequences())
def test_what_is_told_by_changes_is_what_is_wanted(sequence: list[Wanted]) -> None:
    former = told = Wanted(0)
    for wanted in sequence:
        text = change(former, wanted)
        told = wanted if text is None else changed(told, text)
        assert told == wanted
        former = wanted


def test_only_what_changed_is_told_and_the_rest_stays_the_same_object() -> None:
    wanted = replace(BOTH, revision=8, gossip=Gossip("1", "2", "3"), sandboxes=(A, replace(B, name="other")))
    text = change(BOTH, wanted)
    assert text is not None
    assert json.loads(text).keys() == {"base", "revision", "gossip", "sandboxes"}
    assert [one["container"] for one in json.loads(text)["sandboxes"]["set"]] == ["b"]
    assert b"web.a" not in text
    told = changed(BOTH, text)
    assert told == wanted
    assert told.overlays is BOTH.overlays
    assert told.sandboxes[0] is A


def test_one_that_goes_and_one_that_comes() -> None:
    wanted = replace(BOTH, revision=8, overlays=(RED, replace(BLUE, id="green")))
    text = change(BOTH, wanted)
    assert text is not None
    assert json.loads(text)["overlays"]["gone"] == ["blue"]
    assert changed(BOTH, text) == wanted


@pytest.mark.parametrize(
    "wanted", [replace(BOTH, sandboxes=(B, A)), replace(BOTH, sandboxes=(A, A)), replace(BOTH, overlays=(RED, RED))]
)
def test_what_has_another_order_or_one_id_twice_is_told_whole(wanted: Wanted) -> None:
    assert change(BOTH, wanted) is None


def test_fields_that_another_version_knows_are_ignored() -> None:
    assert changed(BOTH, b'{"base":7,"revision":8,"mesh":{"set":[1]}}') == replace(BOTH, revision=8)


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"base":6,"revision":8}',
        b'{"base":7}',
        b'{"base":7,"revision":"8"}',
        b'{"base":7,"revision":8,"overlays":[]}',
        b'{"base":7,"revision":8,"overlays":{"gone":[1]}}',
        b'{"base":7,"revision":8,"sandboxes":{"set":[{}]}}',
        b'{"base":7,"revision":8,"gossip":[]}',
    ],
)
def test_what_is_no_change_of_what_was_told_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidArgument):
        changed(BOTH, text)


def test_nothing_is_changed_where_nothing_was_told() -> None:
    with pytest.raises(InvalidArgument, match="not told here"):
        changed(None, b'{"base":0,"revision":1}')
