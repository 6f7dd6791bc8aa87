from typing import Any

import pytest

from shoal.compose.convert.services import service_spec
from shoal.compose.errors import ComposeError
from tests.unit.compose.files import project


def spec(keys: str, more: str = "") -> dict[str, Any]:
    found = project(f"services: {{web: {{image: a, {keys}}}}}\n{more}")
    return service_spec("web", found, {}, {"c": ("p_c", "id")})


def test_a_bare_service() -> None:
    assert spec("") == {
        "Name": "p_web",
        "Labels": {"com.docker.stack.namespace": "p", "com.docker.stack.image": "a"},
        "TaskTemplate": {
            "ContainerSpec": {
                **{"Image": "a", "Hosts": [], "Env": [], "Labels": {"com.docker.stack.namespace": "p"}, "Mounts": []},
                **{
                    "Secrets": [],
                    "Configs": [],
                    "Privileges": {},
                    "CapabilityAdd": [],
                    "CapabilityDrop": [],
                    "Ulimits": [],
                },
            },
            "Resources": {},
            "Placement": {"Preferences": []},
            "Networks": [{"Target": "p_default", "Aliases": ["web"]}],
        },
        "Mode": {"Replicated": {}},
        "EndpointSpec": {"Ports": []},
    }


def test_what_dockers_command_leaves_out_is_there() -> None:
    found = spec("group_add: [5], dns_opt: [x], scale: 3")
    container = found["TaskTemplate"]["ContainerSpec"]
    assert (container["Groups"], container["DNSConfig"]) == (["5"], {"Options": ["x"]})
    assert found["Mode"] == {"Replicated": {"Replicas": 3}}


def test_adding_a_capability_counts_more_than_dropping_it() -> None:
    container = spec("cap_add: [net_admin, CAP_CHOWN], cap_drop: [ALL, chown]")["TaskTemplate"]["ContainerSpec"]
    assert (container["CapabilityAdd"], container["CapabilityDrop"]) == (["CAP_CHOWN", "CAP_NET_ADMIN"], ["ALL"])


def test_a_config_that_is_a_credential_spec() -> None:
    container = spec("credential_spec: {config: c}", "configs: {c: {content: x}}")["TaskTemplate"]["ContainerSpec"]
    assert container["Privileges"] == {"CredentialSpec": {"Config": "id"}}
    assert container["Configs"] == [{"Runtime": {}, "ConfigID": "id", "ConfigName": "p_c"}]


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ("restart: sometimes", "services.web.restart: is 'sometimes'"),
        ("deploy: {mode: sideways}", "services.web.deploy.mode: is 'sideways'"),
        ("deploy: {mode: global, replicas: 2}", "services.web.deploy.replicas: a global service has one task a node"),
        ("ports: ['8000-9000:80']", "services.web.ports[0]: Swarm publishes one port, not 8000-9000"),
        (
            "credential_spec: {file: a, registry: b}",
            "services.web.credential_spec: file and registry exclude each other",
        ),
    ],
)
def test_what_contradicts_itself_is_told(keys: str, error: str) -> None:
    with pytest.raises(ComposeError) as found:
        spec(keys)
    assert error in str(found.value)


def test_swarm_builds_nothing() -> None:
    found = project("services: {web: {build: .}}")
    with pytest.raises(ComposeError, match=r"services.web: must have the key image: Swarm builds none"):
        service_spec("web", found, {}, {})
