import base64
import json
from typing import Any

import pytest

from shoal.api import v1 as api
from shoal.api.predefined import LABEL
from shoal.errors import NotFound
from shoal.manager.allocator.endpoints import Endpoints
from shoal.manager.allocator.networks import Networks
from shoal.manager.allocator.nodes import Nodes
from shoal.manager.allocator.tasks import Tasks
from shoal.network.types import LocalNetwork
from shoal.runtime.image_types import DistributionInspect
from tests.unit.engine.fakes import NO_SWARM, FakeNode, FakeTable, backend, client, manager_node
from tests.unit.manager.allocator.objects import network, service
from tests.unit.manager.allocator.objects import task as task_of

HOST = api.Network(id="net-host", spec={"annotations": {"name": "host", "labels": {LABEL: "true"}}})


def spec(name: str = "web", **fields: Any) -> dict[str, Any]:
    return {"Name": name, "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}}, **fields}


def served(*objects: Any, **parts: Any) -> Any:
    node, _ = manager_node(HOST, *objects)
    return client(backend(node=node, **parts))


async def created(http: Any, body: dict[str, Any], **more: Any) -> str:
    answer = await http.post("/services/create", json=body, **more)
    assert answer.status == 201, await answer.text()
    reply = await answer.json()
    assert set(reply) == {"ID", "Warnings"}
    return str(reply["ID"])


async def test_a_service_is_created_listed_inspected_updated_and_removed() -> None:
    async with served() as http:
        service_id = await created(http, spec(Mode={"Replicated": {"Replicas": 3}}, Labels={"a": "b"}))
        [listed] = await (await http.get("/v1.41/services")).json()
        for ref in (service_id, "web", service_id[:2]):
            assert await (await http.get(f"/services/{ref}")).json() == listed
        assert listed["Spec"] == {
            "Name": "web",
            "Labels": {"a": "b"},
            "TaskTemplate": {
                "ContainerSpec": {"Image": "busybox", "Isolation": "default"},
                "ForceUpdate": 0,
                "Runtime": "container",
            },
            "Mode": {"Replicated": {"Replicas": 3}},
        }
        assert listed["Endpoint"] == {"Spec": {}}
        version = listed["Version"]["Index"]

        body = spec(Mode={"Replicated": {"Replicas": 5}})
        answer = await http.post(f"/services/web/update?version={version}", json=body)
        assert (answer.status, await answer.json()) == (200, {"Warnings": None})
        changed = await (await http.get("/services/web")).json()
        assert changed["Spec"]["Mode"] == {"Replicated": {"Replicas": 5}}
        assert changed["PreviousSpec"]["Mode"] == {"Replicated": {"Replicas": 3}}

        answer = await http.post(f"/services/web/update?version={version}", json=body)
        assert answer.status == 500
        assert (await answer.json())["message"] == "rpc error: code = Unknown desc = update out of sequence"

        now = changed["Version"]["Index"]
        answer = await http.post(f"/services/web/update?version={now}&rollback=previous", json=body)
        assert answer.status == 200
        back = await (await http.get("/services/web")).json()
        assert back["Spec"]["Mode"] == {"Replicated": {"Replicas": 3}}
        assert back["UpdateStatus"]["State"] == "rollback_started"

        answer = await http.delete("/services/web")
        assert (answer.status, await answer.read()) == (200, b"")
        assert await (await http.get("/services")).json() == []


async def test_a_running_count_is_added_to_the_text_that_is_kept() -> None:
    async with served() as http:
        await created(http, spec())
        [with_status] = await (await http.get("/v1.41/services?status=true")).json()
        assert with_status["ServiceStatus"] == {"RunningTasks": 0, "DesiredTasks": 1, "CompletedTasks": 0}
        assert "ServiceStatus" not in (await (await http.get("/v1.40/services?status=true")).json())[0]
        assert (await http.get("/services?status=maybe")).status == 400


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "mismatched Runtime and *Spec fields"),
        (spec(TaskTemplate={"ContainerSpec": None}), 400, "mismatched Runtime and *Spec fields"),
        (spec("a b"), 400, "rpc error: code = InvalidArgument desc = name must be valid as a DNS name component"),
        (spec(Mode={"Global": {}, "Replicated": {}}), 400, "must specify only one service mode"),
        (spec(EndpointSpec={"Mode": "x"}), 400, 'invalid resolution mode: "x"'),
        (
            spec(TaskTemplate={"ContainerSpec": {"Image": 1}}),
            400,
            "invalid JSON: json: cannot unmarshal number into Go struct field "
            "ContainerSpec.TaskTemplate.ContainerSpec.Image of type string",
        ),
        (spec(TaskTemplate={"Runtime": "plugin"}), 501, "services of plugins are not supported by this daemon"),
        (
            spec(TaskTemplate={"ContainerSpec": {"Image": "busybox"}, "Networks": [{"Target": "nowhere"}]}),
            500,
            "network nowhere not found",
        ),
    ],
)
async def test_wrong_specs_are_refused(body: dict[str, Any], status: int, message: str) -> None:
    async with served() as http:
        answer = await http.post("/services/create", json=body)
        assert (answer.status, await answer.json()) == (status, {"message": message})
        assert await (await http.get("/services")).json() == []


async def test_malformed_and_foreign_bodies_are_refused() -> None:
    async with served() as http:
        headers = {"Content-Type": "application/json"}
        answer = await http.post("/services/create", data=b"{", headers=headers)
        assert (answer.status, await answer.json()) == (400, {"message": "invalid JSON: unexpected EOF"})
        answer = await http.post("/services/create", data=b"{}", headers={"Content-Type": "text/plain"})
        assert "unsupported Content-Type header (text/plain)" in (await answer.json())["message"]


async def test_names_taken_unknown_and_ambiguous() -> None:
    async with served() as http:
        await created(http, spec("web"))
        await created(http, spec("app"))
        answer = await http.post("/services/create", json=spec("web"))
        assert answer.status == 409
        assert (await answer.json())["message"] == (
            "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service web already exists"
        )
        for method, path in (("GET", "/services/x"), ("DELETE", "/services/x"), ("GET", "/services/x/logs?stdout=1")):
            answer = await http.request(method, path)
            assert (answer.status, await answer.json()) == (404, {"message": "service x not found"})
        answer = await http.get("/services/id")
        assert (answer.status, await answer.json()) == (
            400,
            {"message": "service id is ambiguous (2 matches found)"},
        )


@pytest.mark.parametrize("version", ["", "x", "-1"])
async def test_an_update_needs_a_version(version: str) -> None:
    async with served() as http:
        await created(http, spec())
        answer = await http.post(f"/services/web/update?version={version}", json=spec())
        assert answer.status == 400
        assert (await answer.json())["message"] == (
            f"invalid service version '{version}': strconv.ParseUint: parsing \"{version}\": invalid syntax"
        )


async def test_a_service_without_a_name_is_given_one() -> None:
    async with served() as http:
        service_id = await created(http, spec(""))
        shown = await (await http.get(f"/services/{service_id}")).json()
        first, _, second = shown["Spec"]["Name"].partition("_")
        assert first
        assert second


async def test_services_are_filtered() -> None:
    async with served() as http:
        await created(http, spec("web", Labels={"tier": "front"}))
        await created(http, spec("app"))

        async def names(filters: dict[str, Any]) -> list[str]:
            answer = await http.get("/services", params={"filters": json.dumps(filters)})
            return sorted(service["Spec"]["Name"] for service in await answer.json())

        assert await names({"name": ["we"]}) == ["web"]
        assert await names({"label": {"tier=front": True}}) == ["web"]
        assert await names({"mode": ["global"]}) == []
        assert await names({"mode": ["replicated"]}) == ["app", "web"]
        answer = await http.get("/services", params={"filters": '{"x":["y"]}'})
        assert (answer.status, await answer.json()) == (400, {"message": "invalid filter 'x'"})


async def test_predefined_networks_are_found_by_their_local_ids() -> None:
    local = LocalNetwork(id="f" * 64, name="host", driver="host", created_at=0.0)
    async with served(network=FakeTable([local])) as http:
        template = {"ContainerSpec": {"Image": "busybox"}, "Networks": [{"Target": "f" * 64}]}
        service_id = await created(http, spec(TaskTemplate=template))
        shown = await (await http.get(f"/services/{service_id}")).json()
        assert shown["Spec"]["TaskTemplate"]["Networks"] == [{"Target": "net-host"}]


async def test_the_registry_password_is_stored_and_kept_over_updates() -> None:
    node, store = manager_node(HOST)

    def password() -> str:
        [service] = store.view().services.all()
        return str(service.spec.task.container.pull_options.registry_auth)

    async with client(backend(node=node)) as http:
        auth = base64.urlsafe_b64encode(b'{"username":"u"}').decode()
        await created(http, spec(), headers={"X-Registry-Auth": auth})
        assert password() == auth
        assert "PullOptions" not in (await http.get("/services/web")).headers
        version = (await (await http.get("/services/web")).json())["Version"]["Index"]
        assert (await http.post(f"/services/web/update?version={version}", json=spec())).status == 200
        assert password() == auth
        answer = await http.post(f"/services/web/update?version={version}&registryAuthFrom=x", json=spec())
        assert (answer.status, await answer.json()) == (400, {"message": "invalid registryAuthFrom 'x'"})


class Registry(FakeTable):
    async def distribution(self, ref: str, auth: Any) -> Any:
        if ref != "busybox:latest":
            raise NotFound("manifest unknown")
        return DistributionInspect("sha256:" + "a" * 64, "application/vnd.oci.image.index.v1+json", 1, ())


async def test_old_clients_get_their_images_pinned() -> None:
    async with served(images=Registry()) as http:
        answer = await http.post("/v1.29/services/create", json=spec())
        assert (await answer.json())["Warnings"] is None
        shown = await (await http.get("/services/web")).json()
        assert shown["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == "busybox:latest@sha256:" + "a" * 64

        body = {"Name": "app", "TaskTemplate": {"ContainerSpec": {"Image": "nowhere"}}}
        reply = await (await http.post("/v1.29/services/create", json=body)).json()
        assert reply["Warnings"][0].startswith("image nowhere could not be accessed on a registry to record\n")
        assert (await (await http.post("/v1.30/services/create", json=spec("new"))).json())["Warnings"] is None


async def test_what_came_after_the_api_version_is_dropped() -> None:
    async with served() as http:
        template = {
            "ContainerSpec": {
                "Image": "busybox",
                "Sysctls": {"a": "1"},
                "CapabilityAdd": ["CAP_NET_RAW"],
                "OomScoreAdj": 5,
                "Privileges": {"NoNewPrivileges": True},
            },
            "Resources": {"Limits": {"Pids": 9}},
        }
        await created(http, spec("new", TaskTemplate=template))
        answer = await http.post("/v1.39/services/create", json=spec("old", TaskTemplate=template))
        assert answer.status == 201
        new = (await (await http.get("/services/new")).json())["Spec"]["TaskTemplate"]
        old = (await (await http.get("/services/old")).json())["Spec"]["TaskTemplate"]
        assert new["Resources"]["Limits"] == {"Pids": 9}
        assert new["ContainerSpec"]["Sysctls"] == {"a": "1"}
        assert old["Resources"]["Limits"] == {}
        assert not {"Sysctls", "CapabilityAdd", "OomScoreAdj"} & set(old["ContainerSpec"])
        assert old["ContainerSpec"]["Privileges"]["NoNewPrivileges"] is False


async def test_without_a_manager_every_call_is_unavailable() -> None:
    async with client(backend(node=FakeNode())) as http:
        for method, path in (
            ("GET", "/services"),
            ("GET", "/services/x"),
            ("DELETE", "/services/x"),
            ("POST", "/services/create"),
            ("GET", "/tasks"),
            ("GET", "/nodes"),
            ("GET", "/swarm"),
            ("GET", "/secrets"),
            ("GET", "/configs"),
            ("GET", "/services/x/logs?stdout=1"),
        ):
            answer = await http.request(method, path, json=spec() if method == "POST" else None)
            assert (answer.status, await answer.json()) == (503, {"message": NO_SWARM})


async def test_names_of_fields_count_in_any_case() -> None:
    """docker-py writes the mode in lower case."""
    async with served() as http:
        template = {"containerspec": {"image": "busybox"}, "resources": {"limits": {"pids": 7}}}
        service_id = await created(
            http, {"name": "web", "tasktemplate": template, "mode": {"replicated": {"replicas": 2}}}
        )
        shown = (await (await http.get(f"/services/{service_id}")).json())["Spec"]
        assert shown["Mode"] == {"Replicated": {"Replicas": 2}}
        assert shown["TaskTemplate"]["Resources"]["Limits"] == {"Pids": 7}


async def test_what_the_allocator_gave_is_shown() -> None:
    blue = network("blue")
    asked = service("web", "blue", ports="8080:80 0:53/udp")
    networks = Networks()
    made = networks.allocate(blue)
    assert isinstance(made, api.Network)
    web = Endpoints(networks).allocate(asked, ["blue"])
    assert isinstance(web, api.Service)
    task = Tasks(networks, Nodes(networks)).admit(
        task_of("t1", web), web.spec.task.networks, web.endpoint, lambda _: made, 0.0
    )
    assert isinstance(task, api.Task)
    async with client(backend(node=manager_node(made, web, task)[0])) as http:
        assert (await (await http.get("/services/web")).json())["Endpoint"] == {
            "Spec": {
                "Mode": "vip",
                "Ports": [
                    {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress"},
                    {"Protocol": "udp", "TargetPort": 53, "PublishMode": "ingress"},
                ],
            },
            "Ports": [
                {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress"},
                {"Protocol": "udp", "TargetPort": 53, "PublishedPort": 30000, "PublishMode": "ingress"},
            ],
            "VirtualIPs": [{"NetworkID": "blue", "Addr": "10.0.0.2/24"}],
        }
        (attached,) = (await (await http.get("/tasks/t1")).json())["NetworksAttachments"]
        assert attached["Addresses"] == ["10.0.0.3/24"]
        assert attached["Network"]["DriverState"]["Name"] == "overlay"
        assert attached["Network"]["IPAMOptions"]["Configs"] == [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1"}]


async def test_networks_of_a_service_are_named_by_name_id_or_its_beginning() -> None:
    made = Networks().allocate(network("bluenetwork"))
    assert isinstance(made, api.Network)
    made.spec.annotations.name = "red"
    node, store = manager_node(made)
    async with client(backend(node=node)) as http:
        for number, ref in enumerate(("red", "bluenetwork", "bluen")):
            body = spec(f"web{number}")
            body["TaskTemplate"]["Networks"] = [{"Target": ref, "Aliases": ["db"], "DriverOpts": {"a": "b"}}]
            web = store.view().services.get(await created(http, body))
            assert web is not None
            (config,) = web.spec.task.networks
            assert (config.target, list(config.aliases)) == ("bluenetwork", ["db"])
            assert dict(config.driver_attachment_opts) == {"a": "b"}
