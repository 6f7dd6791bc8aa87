"""Views as daemons give them, and what is no view."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shoal.cli.network_doctor import FLOWS, Row, compare
from shoal.cli.network_views import MOST, MOST_COUNT, Balance, Endpoint, Store, Task, View, read

MAC = "02:42:0a:00:01:04"
ANSWER: dict[str, Any] = {
    "Node": {"ID": "n1", "Hostname": "first"},
    "Networks": [
        {
            "ID": "blue-id",
            "Name": "blue",
            "Reason": "",
            "Store": {
                "Tasks": [
                    {
                        "ID": "t", "Name": "web.1", "Service": "web", "NodeID": "n1", "Node": "first",
                        "Addresses": ["10.0.1.3", "fd00::3"], "State": "running", "DesiredState": "shutdown",
                    }
                ],
                "VirtualIPs": {"10.0.1.2": "web", "fd00::2": "web"},
            },
            "Told": {
                "nodes": [],
                "endpoints": {
                    "e": {
                        "name": "web.1.t", "address": "10.0.1.3", "service": "web", "vip": "10.0.1.2",
                        "address6": "fd00::3", "vip6": "fd00::2", "disabled": True, "node": "192.168.0.1",
                    }
                },
                "neighbours": {},
            },
            "Layers": {
                "names": {"web": ["10.0.1.2"]},
                "endpoints": [{"container": "c", "address": "10.0.1.3/24", "address6": "fd00::3/64", "named": True}],
                "wanted": {"neighbours": {"10.0.1.4": MAC}, "forwarding": {MAC: "192.168.0.2"}},
                "kernel": {"neighbours": {"10.0.1.4": MAC}, "forwarding": {MAC: ""}},
                "containers": [
                    {
                        "container": "c", "name": "web.1.t",
                        "wanted": {"10.0.1.2": {"backends": ["10.0.1.3"], "leaving": ["10.0.1.4"]}},
                        "kernel": {"10.0.1.2": {"backends": ["10.0.1.4"], "flows": {"10.0.1.4": 3}}},
                    },
                    {
                        "container": "d", "wanted": {},
                        "kernel": {"10.0.1.2": {"backends": [], "flows": {"10.0.1.4": 2}}},
                    },
                ],
                "troubles": ["no room"],
            },
        },
        {"ID": "red-id", "Name": "red", "Store": None, "Told": None, "Layers": None, "Reason": "it is not on it"},
    ],
}  # fmt: skip


def test_a_view_is_read() -> None:
    blue, red = read(ANSWER, "first")
    assert blue == View(
        node="first",
        network="blue-id",
        name="blue",
        names={"web": ("10.0.1.2",)},
        endpoints={
            "10.0.1.3": Endpoint("web.1.t", "web", "10.0.1.2", "192.168.0.1", leaving=True),
            "fd00::3": Endpoint("web.1.t", "web", "fd00::2", "192.168.0.1", leaving=True),
        },
        own={"10.0.1.3": ("c", True), "fd00::3": ("c", True)},
        wanted={"10.0.1.4": f"{MAC} by 192.168.0.2"},
        kernel={"10.0.1.4": f"{MAC} by nobody"},
        balances={
            "10.0.1.2": (
                Balance("web.1.t", frozenset({"10.0.1.3"}), frozenset({"10.0.1.4"}), frozenset({"10.0.1.4"})),
                Balance("d", None, frozenset(), frozenset()),
            )
        },
        flows={"10.0.1.2": {"10.0.1.4": 5}},
        troubles=("no room",),
        store=Store(
            dict.fromkeys(["10.0.1.3", "fd00::3"], Task("web.1", "web", "first", "running", "shutdown")),
            {"10.0.1.2": "web", "fd00::2": "web"},
        ),
    )
    assert red == View("first", "red-id", "red", "it is not on it")


def replaced(value: Any, at: int, other: Any) -> Any:
    """Return a copy with the part of this number, counted in depth, replaced."""
    count = -1

    def walk(part: Any) -> Any:
        nonlocal count
        count += 1
        if count == at:
            return other
        if isinstance(part, dict):
            return {key: walk(each) for key, each in part.items()}
        return [walk(each) for each in part] if isinstance(part, list) else part

    return walk(value)


@given(st.integers(0, 90), st.sampled_from([None, 1, "x", [], {}, [None], {"a": None}, True, [[]], {"a": {"b": []}}]))
def test_whatever_is_not_as_it_should_be_is_taken_for_absent(at: int, other: Any) -> None:
    answer = replaced(ANSWER, at, other)
    compare([*read(answer, "first"), *read(ANSWER, "second")], "web")


def networks(layers: dict[str, Any], told: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"Networks": [{"ID": "blue-id", "Name": "blue", "Told": told or {}, "Layers": layers}]}


def size(rows: list[Row]) -> int:
    return sum(len(text) for row in rows for text in (row.subject, row.store, *row.cells.values(), *row.differences))


def test_a_long_text_does_not_stand_in_every_row() -> None:
    """A megabyte as the node behind every neighbour would be gigabytes of rows."""
    tables = {
        "neighbours": {f"10.0.{number >> 8}.{number & 255}": MAC for number in range(2000)},
        "forwarding": {MAC: "x" * 1_000_000},
    }
    told = {"endpoints": {"e": {"address": "10.0.0.1", "node": "y" * 1_000_000, "name": "z" * 1_000_000}}}
    rows = compare(read(networks({"wanted": {}, "kernel": tables, "troubles": ["t" * 1_000_000]}, told), "first"))
    assert len(rows) > 2000
    assert size(rows) < 4_000_000


def test_numbers_that_cannot_be_printed_are_none() -> None:
    huge = 10**4299
    kernel = {"kernel": {"10.0.1.2": {"backends": [], "flows": {"10.0.1.4": huge, "10.0.1.5": -1, "10.0.1.6": 2**62}}}}
    rows = compare(read(networks({"containers": [kernel] * 12}), "first"))
    assert [row.cells for row in rows if row.kind == FLOWS] == [{"first": f"10.0.1.6:{MOST_COUNT}"}]


def test_only_so_many_rows_are_read() -> None:
    names = {f"name{number}": ["10.0.1.1"] for number in range(MOST + 10)}
    (view,) = read(networks({"names": names}), "first")
    assert len(view.names) == MOST


def test_the_rows_of_a_service_are_found_in_time_that_grows_with_their_number() -> None:
    endpoints = {str(n): {"address": f"10.1.{n >> 8}.{n & 255}", "service": "web"} for n in range(MOST)}
    views = read(networks({}, {"endpoints": endpoints}), "first")
    assert len(compare(views, "web")) >= MOST  # it took a quarter of an hour
