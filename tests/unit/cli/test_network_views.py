"""Views as daemons give them, and what is no view."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shoal.cli.network_doctor import compare
from shoal.cli.network_views import Balance, Endpoint, Store, Task, View, read

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
