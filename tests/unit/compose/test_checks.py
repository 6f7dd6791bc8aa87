import pytest

from shoal.compose.errors import ComposeError
from tests.unit.compose.files import project

WEB = "services: {web: {image: a}}\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("services: {web: {ports: ['80']}}", "compose.yaml:1:12: services.web: must have the key image"),
        ("services: {web: {image: a, networks: [n]}}", "1:39: services.web.networks.n: there is no network n"),
        (
            "services: {web: {image: a, volumes: ['v:/v']}}",
            "services.web.volumes[0]: there is no volume v",
        ),
        ("services: {web: {image: a, secrets: [s]}}", "services.web.secrets[0]: there is no secret s under secrets"),
        ("services: {web: {image: a, configs: [c]}}", "services.web.configs[0]: there is no config c under configs"),
        ("services: {web: {image: a, depends_on: [b]}}", "services.web.depends_on.b: there is no service b"),
        ("services: {web: {image: a, scale: -1}}", "services.web.scale: must be 0 or more"),
        ("services: {web: {image: a, scale: 1, deploy: {replicas: 2}}}", "differs from deploy.replicas, which is 2"),
        ("services: {web: {image: a, mem_limit: 1, deploy: {resources: {limits: {memory: '2'}}}}}", "which is 2"),
        ("services: {web: {image: a, ports: [{target: 0}]}}", "services.web.ports[0].target: 0 is no port"),
        ("services: {web: {image: a, ports: [{target: 1, host_ip: x}]}}", "host_ip: 'x' is no address"),
        ("services: {web: {image: a, volumes: [{type: tmpfs}]}}", "must have the key target"),
        ("services: {web: {image: a, network_mode: host, networks: [default]}}", "exclude each other"),
        (
            WEB + "secrets: {s: {labels: {}}}",
            "2:11: secrets.s: must have one of the keys file, environment and external",
        ),
        (WEB + "configs: {c: {file: a, content: b}}", "configs.c.content: file and content exclude each other"),
        (WEB + "volumes: {v: {external: true, driver: d}}", "2:31: volumes.v.driver: says how to make it"),
    ],
)
def test_what_does_not_fit_is_told(text: str, error: str) -> None:
    with pytest.raises(ComposeError) as found:
        project(text)
    assert error in str(found.value)
