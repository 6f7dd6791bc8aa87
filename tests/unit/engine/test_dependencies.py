import pytest

from tests.unit.engine.fakes import backend, client, manager_node


@pytest.mark.parametrize("kind", ["secret", "config"])
async def test_secrets_and_configs_answer_by_name(kind: str) -> None:
    async with client(backend(node=manager_node()[0])) as http:
        assert await (await http.get(f"/{kind}s")).json() == []
        for method, path in (
            ("GET", f"/{kind}s/x"),
            ("DELETE", f"/{kind}s/x"),
            ("POST", f"/{kind}s/x/update?version=1"),
        ):
            answer = await http.request(method, path, json={} if method == "POST" else None)
            assert (answer.status, await answer.json()) == (404, {"message": f"{kind} x not found"})
        answer = await http.post(f"/{kind}s/create", json={"Name": "x", "Data": "YQ=="})
        assert answer.status == 501
        assert f"{kind}s are not supported" in (await answer.json())["message"]
        answer = await http.post(f"/{kind}s/create", json={"Name": "x", "Data": "?"})
        assert (answer.status, await answer.json()) == (
            400,
            {"message": "invalid JSON: illegal base64 data at input byte 0"},
        )
        answer = await http.post(f"/v1.36/{kind}s/create", json={"Name": "x", "Templating": {"Name": "golang"}})
        assert (await answer.json())["message"] == (
            f"{kind} templating is not supported on the specified API version: 1.36"
        )
        answer = await http.post(f"/{kind}s/x/update?version=x", json={})
        assert (answer.status, await answer.json()) == (400, {"message": f"invalid {kind} version"})
