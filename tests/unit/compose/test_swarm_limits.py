import pytest

from shoal.compose.swarm_limits import unsupported
from tests.unit.compose.files import project


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ("privileged: true", "compose.yaml:1:28: services.web.privileged: Swarm has nothing like it"),
        ("container_name: x", "services.web.container_name: Swarm names containers itself"),
        ("network_mode: 'service:x'", "services.web.network_mode: Swarm has host and none"),
        ("ports: ['127.0.0.1:80:80']", "services.web.ports[0].host_ip: Swarm publishes on every address"),
        ("volumes: ['/a:/b:z']", "services.web.volumes[0].bind.selinux: Swarm has nothing"),
        ("networks: {default: {ipv4_address: 10.0.0.5}}", "services.web.networks.default.ipv4_address: Swarm has"),
        (
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}",
            "reservations.devices: Swarm counts",
        ),
    ],
)
def test_a_key_that_swarm_cannot_do_is_named_with_its_place(keys: str, named: str) -> None:
    (found,) = unsupported(project(f"services: {{web: {{image: a, {keys}}}}}"))
    assert named in str(found)


def test_a_volume_under_selinux_is_named_too() -> None:
    text = "services: {web: {image: a, volumes: ['data:/b:z']}}\nvolumes: {data: }"
    assert [each.key for each in unsupported(project(text))] == ["services.web.volumes[0].bind.selinux"]


def test_what_says_nothing_is_not_named() -> None:
    assert unsupported(project("services: {web: {image: a, privileged: false, devices: [], network_mode: host}}")) == []


def test_a_network_has_ipv4() -> None:
    text = "services: {web: {image: a}}\nnetworks: {n: {enable_ipv4: false}}"
    assert [each.key for each in unsupported(project(text))] == ["networks.n.enable_ipv4"]
