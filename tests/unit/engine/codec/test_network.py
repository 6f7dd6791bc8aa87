from typing import Any

import pytest

from shoal.api import v1 as api
from shoal.engine.codec.message import decode_body
from shoal.engine.codec.network import NETWORK_CREATE
from shoal.errors import InvalidArgument


def test_everything_that_a_client_asks_for_is_read() -> None:
    spec = decode_body(
        NETWORK_CREATE,
        {
            "Name": "blue",
            "CheckDuplicate": True,
            "Driver": "overlay",
            "Scope": "swarm",
            "EnableIPv4": None,
            "EnableIPv6": True,
            "IPAM": {
                "Driver": "default",
                "Options": {"a": "b"},
                "Config": [
                    {
                        "Subnet": "10.1.0.0/16",
                        "IPRange": "10.1.4.0/24",
                        "Gateway": "10.1.0.1",
                        "AuxiliaryAddresses": {"router": "10.1.0.2"},
                    },
                    {"Subnet": "fd00::/64"},
                ],
            },
            "Internal": True,
            "Attachable": True,
            "Ingress": False,
            "ConfigFrom": {"Network": "base"},
            "Options": {"com.docker.network.driver.mtu": "1400"},
            "Labels": {"l": "v"},
        },
    )
    assert spec == api.NetworkSpec(
        annotations=api.Annotations(name="blue", labels={"l": "v"}),
        driver_config=api.Driver(name="overlay", options={"com.docker.network.driver.mtu": "1400"}),
        ipv6_enabled=True,
        internal=True,
        attachable=True,
        network="base",
        ipam=api.IPAMOptions(
            driver=api.Driver(name="default", options={"a": "b"}),
            configs=[
                api.IPAMConfig(
                    subnet="10.1.0.0/16",
                    range="10.1.4.0/24",
                    gateway="10.1.0.1",
                    reserved={"router": "10.1.0.2"},
                ),
                api.IPAMConfig(subnet="fd00::/64"),
            ],
        ),
    )


def test_the_ipam_driver_is_default_unless_named() -> None:
    assert decode_body(NETWORK_CREATE, {"Name": "blue", "IPAM": {}}).ipam.driver.name == "default"
    assert not decode_body(NETWORK_CREATE, {"Name": "blue", "IPAM": None}).HasField("ipam")


@pytest.mark.parametrize(
    "wrong",
    [
        {"Internal": "yes"},
        {"IPAM": []},
        {"IPAM": {"Config": {}}},
        {"IPAM": {"Config": [{"Subnet": 1}]}},
        {"IPAM": {"Driver": 1}},
        {"Options": {"a": 1}},
        {"Driver": 1},
        {"ConfigFrom": "base"},
        {"Labels": []},
    ],
)
def test_json_of_another_type_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid JSON: json: cannot unmarshal"):
        decode_body(NETWORK_CREATE, {"Name": "blue", **wrong})
