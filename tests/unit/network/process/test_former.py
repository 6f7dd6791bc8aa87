"""Who a program was in gossip, as it is left to the next one."""

import json
from typing import Any

import pytest

from shoal.network.process.former import VALUE, Former, Place, entries_of, former_of, values_of, written_by
from shoal.network.records import ENDPOINTS, PEERS

WRITTEN = {
    "c": {(PEERS, "blue", "e1"): b"peer", (ENDPOINTS, "blue", "e1"): b"\0\xff"},
    "d": {(PEERS, "red", "e2"): b""},
}
KEYS = {(PEERS, "blue", "e1"): "fresh"}
WAS = Former("n1", "0.0.0.0", "10.9.0.1", 7, 9, (Place("10.9.0.2", 7946),), ("blue", "red"), entries_of(WRITTEN, KEYS))


def test_it_is_read_as_it_was_left() -> None:
    assert former_of(json.loads(json.dumps(values_of(WAS)))) == WAS
    assert written_by(WAS.entries) == WRITTEN
    assert {(one.table, one.network, one.key): one.used for one in WAS.entries if one.used != one.key} == KEYS


@pytest.mark.parametrize(
    "left",
    [
        {},
        {VALUE: None},
        {VALUE: []},
        {VALUE: {"name": "n1"}},
        {VALUE: values_of(WAS)[VALUE] | {"table_time": "9"}},
        {VALUE: values_of(WAS)[VALUE] | {"entries": [["c"]]}},
        {VALUE: values_of(WAS)[VALUE] | {"entries": [dict.fromkeys(("container", "table", "network", "key"), "x")]}},
        {
            VALUE: values_of(WAS)[VALUE]
            | {"entries": [dict.fromkeys(("container", "table", "network", "key", "used", "value"), "x")]}
        },
    ],
)
def test_what_makes_no_sense_is_as_nothing(left: dict[str, Any]) -> None:
    assert former_of(left) is None
