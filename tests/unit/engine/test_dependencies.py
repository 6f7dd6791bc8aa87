from typing import Any

import pytest

from shoal.api import v1 as api
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


@pytest.mark.parametrize("kind", ["secret", "config"])
async def test_one_is_made_found_by_name_relabelled_and_removed(kind: str) -> None:
    async with client(backend(node=manager_node()[0])) as http:
        made = await http.post(f"/{kind}s/create", json={"Name": "x", "Data": "YQ==", "Templating": {"Name": "golang"}})
        assert made.status == 201
        shown = await (await http.get(f"/{kind}s/x")).json()
        assert shown["ID"] == (await made.json())["ID"]
        data = {} if kind == "secret" else {"Data": "YQ=="}  # nobody is shown a secret's data
        assert shown["Spec"] == {"Name": "x", "Labels": {}, "Templating": {"Name": "golang"}, **data}
        again = await http.post(f"/{kind}s/create", json={"Name": "x", "Data": "YQ=="})
        words = f"rpc error: code = AlreadyExists desc = {kind} x already exists"
        assert (again.status, await again.json()) == (409, {"message": words})
        version = shown["Version"]["Index"]
        for spec in ({"Name": "x", "Labels": {"a": "b"}}, {"Name": "x", "Data": "Yg=="}):
            answer = await http.post(f"/{kind}s/x/update?version={version}", json=spec)
            assert answer.status == (200 if "Labels" in spec else 400)
        assert (await (await http.get(f"/{kind}s/x")).json())["Spec"]["Labels"] == {"a": "b"}
        assert (await http.delete(f"/{kind}s/x")).status == 204
        assert await (await http.get(f"/{kind}s")).json() == []


async def test_a_secret_of_an_external_driver_is_refused_as_where_its_plugin_is_missing() -> None:
    async with client(backend(node=manager_node()[0])) as http:
        answer = await http.post("/secrets/create", json={"Name": "x", "Driver": {"Name": "vault"}})
        assert answer.status == 500
        assert 'plugin "vault" not found' in (await answer.json())["message"]


async def test_known_fault_48_without_a_mode_and_an_owner_a_file_is_of_root_and_readable_by_all() -> None:
    node, store = manager_node()
    async with client(backend(node=node)) as http:
        made = await (await http.post("/secrets/create", json={"Name": "x", "Data": "YQ=="})).json()

        async def target(**file: Any) -> api.FileTarget:
            reference = {"File": {"Name": "x", **file}, "SecretID": made["ID"], "SecretName": "x"}
            task = {"ContainerSpec": {"Image": "bb", "Secrets": [reference]}}
            spec = {"Name": f"s{len(file)}{file.get('Mode')}", "TaskTemplate": task}
            answer = await http.post("/services/create", json=spec)
            assert answer.status == 201, await answer.text()
            service = store.view().services.get((await answer.json())["ID"])
            assert service is not None
            return service.spec.task.container.secrets[0].file

        assert await target() == api.FileTarget(name="x", uid="0", gid="0", mode=0o444)
        assert (await target(Mode=0)).mode == 0
        asked = await target(Mode=0o400, UID="7", GID="8")
        assert asked == api.FileTarget(name="x", uid="7", gid="8", mode=0o400)
