"""The comparison: what agrees is a row without a mark, and each kind of difference is told with its place."""

from dataclasses import replace

from shoal.cli.network_doctor import ADDRESS, FLOWS, NAME, NEIGHBOUR, NO_VIEW, TROUBLE, VIRTUAL, Row, compare, lasting
from shoal.cli.network_views import Balance, Endpoint, Store, Task, View

VIP = "10.0.1.2"
ENDPOINTS = {
    "10.0.1.3": Endpoint("web.1", "web", VIP, "192.168.0.1", leaving=False),
    "10.0.1.4": Endpoint("web.2", "web", VIP, "192.168.0.2", leaving=False),
    "10.0.1.5": Endpoint("by-hand", "", "", "192.168.0.2", leaving=False),
}
NAMES = {"web": (VIP,), "tasks.web": ("10.0.1.3", "10.0.1.4"), "by-hand": ("10.0.1.5",)}
BOTH = frozenset({"10.0.1.3", "10.0.1.4"})
STORE = Store(
    tasks={
        "10.0.1.3": Task("web.1", "web", "first", "running", "running"),
        "10.0.1.4": Task("web.2", "web", "second", "running", "running"),
        "10.0.1.5": Task("t5", "", "second", "running", "running"),
    },
    vips={VIP: "web"},
)


def balance(found: frozenset[str] | None = BOTH, leaving: frozenset[str] = frozenset()) -> Balance:
    return Balance("web.1", BOTH, leaving, found)


def node(name: str) -> View:
    own = {"first": ["10.0.1.3"], "second": ["10.0.1.4", "10.0.1.5"]}[name]
    there = {
        address: f"02:42:{address} by {endpoint.node}" for address, endpoint in ENDPOINTS.items() if address not in own
    }
    return View(
        name, "n", "blue", names=NAMES, endpoints=ENDPOINTS, own=dict.fromkeys(own, ("c", True)), wanted=there,
        kernel=there, balances={VIP: (balance(),)}, flows={VIP: {"10.0.1.3": 4}},
        store=STORE if name == "first" else None,
    )  # fmt: skip


FIRST, SECOND = node("first"), node("second")


def marked(*views: View) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(row.kind, row.subject, row.differences) for row in compare(views) if row.differences]


def row(rows: list[Row], kind: str, subject: str) -> Row:
    (found,) = [each for each in rows if (each.kind, each.subject) == (kind, subject)]
    return found


def test_what_agrees_stands_side_by_side_without_a_mark() -> None:
    rows = compare([FIRST, SECOND])
    assert not [each for each in rows if each.differences]
    assert [each.kind for each in rows] == [NAME] * 3 + [ADDRESS] * 3 + [NEIGHBOUR] * 3 + [VIRTUAL, FLOWS]
    assert row(rows, NAME, "tasks.web").cells == {"first": "10.0.1.3 10.0.1.4", "second": "10.0.1.3 10.0.1.4"}
    address = row(rows, ADDRESS, "10.0.1.3 web.1")
    assert (address.store, address.cells) == (
        "first, running",
        {"first": "at 192.168.0.1", "second": "at 192.168.0.1"},
    )
    assert row(rows, NEIGHBOUR, "10.0.1.3").cells == {"first": "here", "second": "02:42:10.0.1.3 by 192.168.0.1"}
    assert row(rows, VIRTUAL, f"{VIP} web").cells == {"first": "10.0.1.3 10.0.1.4", "second": "10.0.1.3 10.0.1.4"}
    assert row(rows, FLOWS, f"{VIP} web").cells == {"first": "10.0.1.3:4", "second": "10.0.1.3:4"}


def test_a_node_that_has_not_heard_is_marked() -> None:
    deaf = replace(
        SECOND,
        names={**NAMES, "tasks.web": ("10.0.1.4",)},
        endpoints={address: each for address, each in ENDPOINTS.items() if address != "10.0.1.3"},
        wanted={},
        kernel={},
    )
    assert marked(FIRST, deaf) == [
        (NAME, "tasks.web", ("nodes differ",)),
        (ADDRESS, "10.0.1.3 web.1", ("nodes differ",)),
    ]
    lost = replace(SECOND, wanted={}, kernel={})
    assert marked(FIRST, lost) == [(NEIGHBOUR, "10.0.1.3", ("second: nothing leads there",))]


def test_a_kernel_that_is_not_as_it_should_be_is_marked() -> None:
    edited = replace(
        SECOND,
        kernel={"10.0.1.9": "02:42:09 by nobody"},
        balances={VIP: (balance(frozenset({"10.0.1.4", "10.0.1.9"})), balance(None))},
        flows={VIP: {"10.0.1.9": 1}},
    )
    assert marked(FIRST, edited) == [
        (NEIGHBOUR, "10.0.1.3", ("second: the kernel has -, and should have 02:42:10.0.1.3 by 192.168.0.1",)),
        (NEIGHBOUR, "10.0.1.9", ("second: the kernel has 02:42:09 by nobody, and should have -",)),
        (
            VIRTUAL,
            f"{VIP} web",
            (
                "second: in web.1 the rules lead to 10.0.1.4 10.0.1.9, and should to 10.0.1.3 10.0.1.4",
                "second: in web.1 the rules lead to -, and should to 10.0.1.3 10.0.1.4",
                "nodes differ",
            ),
        ),
        (FLOWS, f"{VIP} web", ("second: connections to 10.0.1.9, which is no backend",)),
    ]


def test_connections_of_a_task_on_its_way_out_are_as_they_should_be() -> None:
    leaving = replace(SECOND, balances={VIP: (balance(leaving=frozenset({"10.0.1.9"})),)}, flows={VIP: {"10.0.1.9": 2}})
    assert marked(FIRST, leaving) == []


def test_the_store_is_held_against_what_nodes_tell() -> None:
    fresh = {**STORE.tasks, "10.0.1.6": Task("web.3", "web", "first", "running", "running")}
    fresh["10.0.1.7"] = Task("web.4", "web", "first", "starting", "running")
    del fresh["10.0.1.5"]
    assert marked(replace(FIRST, store=Store(fresh, STORE.vips)), SECOND) == [
        (ADDRESS, "10.0.1.5 by-hand", ("no task of the swarm has it",)),
        (ADDRESS, "10.0.1.6 web.3", ("no node knows this task",)),
    ]
    # Without a manager's view there is nothing to hold it against.
    assert marked(SECOND) == []


def test_a_second_address_that_no_node_tells_of_is_an_engines() -> None:
    tasks = {**STORE.tasks, "fd00::3": STORE.tasks["10.0.1.3"]}
    rows = compare([replace(FIRST, store=Store(tasks, {**STORE.vips, "fd00::2": "web"})), SECOND])
    assert not [each for each in rows if each.differences]
    assert row(rows, ADDRESS, "fd00::3 web.1").cells == {"first": "-", "second": "-"}
    del tasks["10.0.1.3"]
    tasks["fd00::3"] = Task("web.9", "web", "first", "running", "running")
    assert (ADDRESS, "fd00::3 web.9", ("no node knows this task",)) in marked(
        replace(FIRST, store=Store(tasks, {})), SECOND
    )


def test_what_a_node_says_itself_is_marked() -> None:
    dumb = replace(SECOND, own={**SECOND.own, "10.0.1.4": ("c" * 64, False)}, troubles=("no room",))
    away = View("second", "n", "blue", "it is being started")
    assert marked(FIRST, dumb) == [
        (ADDRESS, "10.0.1.4 web.2", (f"second: container {'c' * 12} is not answered names",)),
        (TROUBLE, "no room", ("second says so",)),
    ]
    assert marked(FIRST, away) == [(NO_VIEW, "it is being started", ("it has tasks there",))]
    assert marked(replace(FIRST, store=None), away) == []
    engine = replace(away, reason="not asked: it runs a Docker Engine", asked=False)
    assert marked(FIRST, engine) == []
    assert row(compare([FIRST, engine]), NO_VIEW, engine.reason).cells == {"second": "yes"}


def test_a_service_has_its_own_rows_alone() -> None:
    rows = compare([FIRST, SECOND], "web")
    assert [(each.kind, each.subject) for each in rows] == [
        (NAME, "tasks.web"),
        (NAME, "web"),
        (ADDRESS, "10.0.1.3 web.1"),
        (ADDRESS, "10.0.1.4 web.2"),
        (NEIGHBOUR, "10.0.1.3"),
        (NEIGHBOUR, "10.0.1.4"),
        (VIRTUAL, f"{VIP} web"),
        (FLOWS, f"{VIP} web"),
    ]


def test_only_what_a_second_look_finds_again_lasts() -> None:
    same, other = Row(NAME, "a", {}, differences=("x",)), Row(NAME, "b", {}, differences=("y",))
    assert lasting([same], [same, other]) == [same, replace(other, differences=())]
