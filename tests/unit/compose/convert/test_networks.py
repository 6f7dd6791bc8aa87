from shoal.compose.convert.networks import attachments, external_networks, network_specs, used
from tests.unit.compose.files import project

TEXT = """
services:
  a: {image: a, networks: {n: {aliases: [x]}, out: }}
  b: {image: b, network_mode: host}
  c: {image: c}
networks:
  n: {enable_ipv6: true, ipam: {config: [{subnet: 10.0.0.0/24, gateway: 10.0.0.1, ip_range: 10.0.0.0/25}]}}
  out: {external: true, name: outside}
  unused: {}
"""


def test_networks_that_services_are_on_are_made() -> None:
    found = project(TEXT)
    assert used(found) == ["default", "n", "out"]
    assert list(external_networks(found)) == ["outside"]
    specs = network_specs(found)
    assert set(specs) == {"p_default", "p_n"}
    assert specs["p_n"] == {
        "Name": "p_n",
        "Driver": "overlay",
        "Labels": {"com.docker.stack.namespace": "p"},
        "EnableIPv6": True,
        "IPAM": {"Config": [{"Subnet": "10.0.0.0/24", "IPRange": "10.0.0.0/25", "Gateway": "10.0.0.1"}]},
    }


def test_services_are_attached_by_name_with_their_own_as_an_alias() -> None:
    found = project(TEXT)
    assert attachments("a", found.services["a"], found) == [
        {"Target": "outside", "Aliases": ["a"]},
        {"Target": "p_n", "Aliases": ["x", "a"]},
    ]
    assert attachments("b", found.services["b"], found) == [{"Target": "host"}]
