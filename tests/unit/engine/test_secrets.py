from shoal.api import v1 as api
from tests.unit.engine.controls import RecordedControl
from tests.unit.engine.fakes import FakeNode, backend, client

STORED = api.Secret(
    id="id1",
    meta=api.Meta(version=api.Version(index=7)),
    spec=api.SecretSpec(annotations=api.Annotations(name="x", labels={"a": "b"}), driver=api.Driver(name="vault")),
)


async def test_secrets_are_listed_by_their_filters() -> None:
    control = RecordedControl(list_secrets=api.ListSecretsResponse(secrets=[STORED]))
    async with client(backend(node=FakeNode(manager=control))) as http:
        answer = await http.get(
            "/secrets", params={"filters": '{"name": ["x"], "names": ["y"], "id": ["i"], "label": ["a=b"]}'}
        )
        assert (await answer.json())[0] == {
            "ID": "id1",
            "Version": {"Index": 7},
            "CreatedAt": "1970-01-01T00:00:00Z",
            "UpdatedAt": "1970-01-01T00:00:00Z",
            "Spec": {"Name": "x", "Labels": {"a": "b"}, "Driver": {"Name": "vault"}},
        }
        refused = await http.get("/secrets", params={"filters": '{"nonsense": ["x"]}'})
        assert (refused.status, await refused.json()) == (400, {"message": "invalid filter 'nonsense'"})
    wanted = api.ListSecretsRequest.Filters(names=["y"], name_prefixes=["x"], id_prefixes=["i"], labels={"a": "b"})
    assert control.asked == [api.ListSecretsRequest(filters=wanted)]


async def test_a_secret_is_created_changed_and_removed() -> None:
    control = RecordedControl(
        create_secret=api.CreateSecretResponse(secret=STORED), get_secret=api.GetSecretResponse(secret=STORED)
    )
    async with client(backend(node=FakeNode(manager=control))) as http:
        made = await http.post("/secrets/create", json={"Name": "x", "Data": "YQ==", "Driver": {"Name": "vault"}})
        assert (made.status, await made.json()) == (201, {"ID": "id1"})
        changed = await http.post("/secrets/id1/update?version=7", json={"Name": "x", "Labels": {"a": "c"}})
        assert changed.status == 200
        assert (await http.delete("/secrets/id1")).status == 204
    created, _, updated, _, removed = control.asked
    assert created == api.CreateSecretRequest(
        spec=api.SecretSpec(annotations=api.Annotations(name="x"), data=b"a", driver=api.Driver(name="vault"))
    )
    assert updated == api.UpdateSecretRequest(
        secret_id="id1",
        secret_version=api.Version(index=7),
        spec=api.SecretSpec(annotations=api.Annotations(name="x", labels={"a": "c"})),
    )
    assert removed == api.RemoveSecretRequest(secret_id="id1")
