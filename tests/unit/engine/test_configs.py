from shoal.api import v1 as api
from tests.unit.engine.controls import RecordedControl
from tests.unit.engine.fakes import FakeNode, backend, client

STORED = api.Config(
    id="id1",
    meta=api.Meta(version=api.Version(index=7)),
    spec=api.ConfigSpec(annotations=api.Annotations(name="x", labels={"a": "b"}), data=b"a"),
)


async def test_configs_are_listed_by_their_filters() -> None:
    control = RecordedControl(list_configs=api.ListConfigsResponse(configs=[STORED]))
    async with client(backend(node=FakeNode(manager=control))) as http:
        answer = await http.get("/configs", params={"filters": '{"name": ["x"], "id": ["i"], "label": ["a=b"]}'})
        assert (await answer.json())[0] == {
            "ID": "id1",
            "Version": {"Index": 7},
            "CreatedAt": "1970-01-01T00:00:00Z",
            "UpdatedAt": "1970-01-01T00:00:00Z",
            "Spec": {"Name": "x", "Labels": {"a": "b"}, "Data": "YQ=="},
        }
        refused = await http.get("/configs", params={"filters": '{"names": ["x"]}'})
        assert (refused.status, await refused.json()) == (400, {"message": "invalid filter 'names'"})
    wanted = api.ListConfigsRequest.Filters(name_prefixes=["x"], id_prefixes=["i"], labels={"a": "b"})
    assert control.asked == [api.ListConfigsRequest(filters=wanted)]


async def test_a_config_is_created_changed_and_removed() -> None:
    control = RecordedControl(
        create_config=api.CreateConfigResponse(config=STORED), get_config=api.GetConfigResponse(config=STORED)
    )
    async with client(backend(node=FakeNode(manager=control))) as http:
        made = await http.post("/configs/create", json={"Name": "x", "Data": "YQ==", "Templating": {"Name": "golang"}})
        assert (made.status, await made.json()) == (201, {"ID": "id1"})
        changed = await http.post("/configs/id1/update?version=7", json={"Name": "x", "Labels": {"a": "c"}})
        assert changed.status == 200
        assert (await http.delete("/configs/id1")).status == 204
    created, _, updated, _, removed = control.asked
    assert created == api.CreateConfigRequest(
        spec=api.ConfigSpec(annotations=api.Annotations(name="x"), data=b"a", templating=api.Driver(name="golang"))
    )
    assert updated == api.UpdateConfigRequest(
        config_id="id1",
        config_version=api.Version(index=7),
        spec=api.ConfigSpec(annotations=api.Annotations(name="x", labels={"a": "c"})),
    )
    assert removed == api.RemoveConfigRequest(config_id="id1")
