"""What is made anew after a change of the wanted state."""

from dataclasses import replace

from shoal.network.process.differences import Attached, Differences, differences
from shoal.network.wanted import Endpoint, Overlay, Sandbox, Wanted

BLUE, RED = Overlay("blue", "blue", ()), Overlay("red", "red", ())


def sandbox(container: str, *networks: str, attachment: int = 0) -> Sandbox:
    endpoints = (Endpoint(f"{container}{one}{attachment}", one, "10.0.0.5/24", "", "eth0") for one in networks)
    return Sandbox(container, f"web.{container}", f"/n/{container}", tuple(endpoints))


A, B = sandbox("a", "blue"), sandbox("b", "blue", "red")
BOTH = {"a": A, "b": B}


def test_what_is_the_same_is_not_made_anew() -> None:
    assert differences((BLUE, RED), BOTH, Wanted(2, None, (BLUE, RED), (A, B))) == Differences()
    assert differences((BLUE,), BOTH, Wanted(2, None, (replace(BLUE),), (A, replace(B)))) == Differences()


def test_everything_is_when_it_must_be() -> None:
    found = differences((BLUE, RED), BOTH, Wanted(2, None, (BLUE, RED), (A, B)), everything=True)
    assert found == Differences(frozenset({"blue", "red"}), frozenset({"blue", "red"}), (A, B))


def test_a_container_that_comes_changes_or_goes_touches_its_networks() -> None:
    come = differences((BLUE, RED), {"a": A}, Wanted(2, None, (BLUE, RED), (A, B)))
    assert come == Differences(frozenset(), frozenset({"blue", "red"}), (B,))
    other = replace(B, servers=("10.0.0.53",))
    assert differences((BLUE, RED), BOTH, Wanted(2, None, (BLUE, RED), (A, other))).sandboxes == (other,)
    gone = differences((BLUE, RED), BOTH, Wanted(2, None, (BLUE,), (A,)))
    assert gone == Differences(frozenset({"red"}), frozenset({"blue", "red"}), (), (B,))


def test_one_with_other_endpoints_is_another_namespace_with_the_same_path() -> None:
    again = sandbox("a", "red", attachment=1)
    found = differences((BLUE, RED), BOTH, Wanted(2, None, (BLUE, RED), (again, B)))
    assert found == Differences(frozenset(), frozenset({"blue", "red"}), (again,), (A,))


def test_a_network_that_changes_touches_the_containers_on_it() -> None:
    found = differences((BLUE, RED), BOTH, Wanted(2, None, (BLUE, replace(RED, internal=True)), (A, B)))
    assert found == Differences(frozenset({"red"}), frozenset({"red"}), (B,))


def test_who_is_on_a_network_follows() -> None:
    attached = Attached()
    attached.change([A, B], [])
    assert {one.container for one in attached.sandboxes("blue")} == {"a", "b"}
    assert attached.endpoints("red") == [("/n/b", B.endpoints[1])]
    attached.change([sandbox("b", "blue")], [])
    assert attached.endpoints("red") == []
    attached.change([], [A])
    attached.change([], [A])
    assert [one.container for one in attached.sandboxes("blue")] == ["b"]
    assert attached.all.keys() == {"b"}
