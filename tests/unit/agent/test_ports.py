"""From a task's endpoint to ports of the host, and back into its status."""

import pytest

from shoal.agent.ports import host_ports, port_status
from shoal.api import v1 as api
from shoal.errors import InvalidArgument
from shoal.network.types import HostPort

HOST, INGRESS = api.PortConfig.HOST, api.PortConfig.INGRESS


def port(target: int, published: int = 0, protocol: int = api.PortConfig.TCP, mode: int = HOST) -> api.PortConfig:
    return api.PortConfig(
        target_port=target,
        published_port=published,
        protocol=protocol,  # type: ignore[arg-type]
        publish_mode=mode,  # type: ignore[arg-type]
    )


def test_only_ports_of_the_host_are_asked_for_each_once() -> None:
    asked = [port(80, 8080), port(53, 0, api.PortConfig.UDP), port(80, 80, mode=INGRESS), port(80, 8080), port(80, 81)]
    assert host_ports(asked) == (HostPort("tcp", 80, 8080), HostPort("udp", 53), HostPort("tcp", 80, 81))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (port(0, 80), "invalid port: 0/tcp"),
        (port(65536), "invalid port: 65536/tcp"),
        (port(80, 65536, api.PortConfig.SCTP), "invalid port: 65536/sctp"),
        (port(80, 80, 9), "invalid protocol: 9"),
    ],
)
def test_what_is_no_port_is_refused(wrong: api.PortConfig, message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        host_ports([wrong])
    assert str(refused.value) == message


def test_a_status_says_which_ports_the_host_gave() -> None:
    assert list(port_status([HostPort("udp", 53, 32768)])) == [port(53, 32768, api.PortConfig.UDP)]
    assert port_status(()) == ()
