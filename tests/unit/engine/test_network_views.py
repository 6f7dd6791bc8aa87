import json
from typing import Any

from shoal.api import v1 as api
from shoal.engine.network_views import PATH
from shoal.network.wanted import Overlay, Wanted
from tests.unit.engine.fakes import FakeNode, FakeOverlays, backend, client, manager_node
from tests.unit.manager.builders import node, service, task

BLUE = api.Network(id="blue-id", spec=api.NetworkSpec(annotations=api.Annotations(name="blue")))
RED = api.Network(id="red-id", spec=api.NetworkSpec(annotations=api.Annotations(name="red")))
TOLD = {"nodes": [], "endpoints": {"e": {"service": "web"}}, "neighbours": {}}


def overlays() -> FakeOverlays:
    """This node is on blue, and not on red."""
    return FakeOverlays(
        shown={"blue-id": TOLD},
        layers={"blue-id": {"names": {}}},
        wanted=Wanted(1, overlays=(Overlay("blue-id", "blue", ()),)),
    )


async def asked(made: FakeNode, ref: str = "") -> tuple[int, Any]:
    async with client(backend(node=made, overlays=overlays())) as http:
        answer = await http.get(PATH, params={"ref": ref} if ref else {})
        return answer.status, await answer.json()


def manager() -> FakeNode:
    web, other = service(), service("other")
    web.spec.task.networks.add(target="blue-id")
    other.spec.task.networks.add(target="red-id")
    on = task("web.1", node="a")
    on.networks.add(network=BLUE, addresses=["10.0.1.3/24"])
    return manager_node(BLUE, RED, web, other, node("a"), on)[0]


async def test_a_manager_shows_what_its_store_says_beside_its_own_view() -> None:
    status, found = await asked(manager(), "blue")
    assert status == 200
    assert found["Node"] == {"ID": "m1", "Hostname": "host-1", "Address": "10.0.0.1"}
    assert found["Service"] == ""
    (view,) = found["Networks"]
    assert (view["ID"], view["Name"], view["Reason"]) == ("blue-id", "blue", "")
    assert [each["Addresses"] for each in view["Store"]["Tasks"]] == [["10.0.1.3"]]
    assert (view["Told"], view["Layers"]) == (TOLD, {"names": {}})


async def test_a_network_that_a_manager_is_not_on_is_the_stores_alone() -> None:
    for ref in ("red", "red-id", "red-"):
        _, found = await asked(manager(), ref)
        (view,) = found["Networks"]
        assert (view["Name"], view["Told"], view["Layers"]) == ("red", None, None)
        assert view["Store"]["Tasks"] == []
        assert view["Reason"] == "network red-id is not on this node"


async def test_a_service_stands_for_its_networks() -> None:
    for made in (manager(), FakeNode()):
        _, found = await asked(made, "web")
        assert (found["Service"], [each["Name"] for each in found["Networks"]]) == ("web", ["blue"])
    _, found = await asked(manager(), "other")
    assert (found["Service"], [each["Name"] for each in found["Networks"]]) == ("other", ["red"])


async def test_a_worker_shows_what_it_is_on_and_has_no_store() -> None:
    _, found = await asked(FakeNode())
    (view,) = found["Networks"]
    assert (view["Name"], view["Store"], view["Told"]) == ("blue", None, TOLD)


async def test_a_manager_shows_other_nodes_views_and_what_is_none_is_left_out() -> None:
    made = manager()
    told = {"Told": TOLD, "Layers": {}, "Reason": "", "Store": "lies", "ID": "lies"}
    for node_id, fields in (
        ("m1", {"asked": True, "views": b"[]"}),  # itself
        ("a", {"asked": True, "views": json.dumps([told]).encode()}),
        ("b", {"asked": False, "reason": "not asked: it runs a Docker Engine"}),
        ("c", {"asked": True, "views": b"["}),
        ("d", {"asked": True, "views": b"[5]"}),
        ("e", {"asked": True, "views": b'{"x": 1}'}),
        ("f", {"asked": True, "views": b"[" * 900 + b"]" * 900}),
        ("g", {"asked": True, "views": b"[" + b"[]," * 400_000 + b"[]]"}),
        ("h", {"asked": True, "views": b'[{"Told": ' + b"9" * 5000 + b"}]"}),
    ):
        made.views.nodes.add(node_id=node_id, hostname=f"host-{node_id}", **fields)
    async with client(backend(node=made, overlays=overlays())) as http:
        found = await (await http.get(PATH, params={"ref": "blue", "others": "true"})).json()
    assert made.asked == [["blue-id"]]
    others = {each["Node"]["ID"]: each for each in found["Others"]}
    assert others.keys() == {"a", "b", "c", "d", "e", "f", "g", "h"}
    base = {"ID": "blue-id", "Name": "blue", "Store": None, "Told": None, "Layers": None, "Reason": ""}
    assert others["a"]["Networks"] == [{**base, "Told": TOLD, "Layers": {}}]
    assert (others["b"]["Asked"], others["b"]["Networks"][0]["Reason"]) == (False, "not asked: it runs a Docker Engine")
    for node_id in "cfgh":
        assert others[node_id]["Networks"] == [{**base, "Reason": "its answer cannot be read"}]
    assert others["d"]["Networks"] == others["e"]["Networks"] == [base]


async def test_a_node_that_is_no_manager_asks_nobody() -> None:
    async with client(backend(node=FakeNode(), overlays=overlays())) as http:
        assert (await (await http.get(PATH, params={"others": "true"})).json())["Others"] == []


async def test_what_is_neither_is_not_found() -> None:
    assert await asked(manager(), "gone") == (404, {"message": "there is no network and no service gone"})
    assert await asked(FakeNode(), "gone") == (
        404,
        {"message": "this node is on no network gone, nor on one with a service gone"},
    )
