"""Ports in Docker's shapes."""

from typing import Any

import pytest

from shoal.engine import container_ports
from shoal.network.types import Endpoint, HostPort, Sandbox
from shoal.runtime.types import Container, Phase
from tests.unit.engine.host_fakes import container

BASE: dict[str, Any] = {"ExposedPorts": {"80/tcp": {}, "443/tcp": {}, "odd": {}}}


def made(**changes: Any) -> Container:
    asked = (HostPort("tcp", 80, 8080), HostPort("tcp", 80), HostPort("udp", 53))
    given = (HostPort("tcp", 80, 8080), HostPort("tcp", 80, 32768), HostPort("udp", 53, 32769))
    place = Endpoint("bridge", "n", "e", "172.18.0.2", 16)
    return container(**{"ports": asked, "sandbox": Sandbox("/ns", (place,), ports=given), **changes})


def test_what_was_asked_for_and_what_is_exposed() -> None:
    assert container_ports.asked_for(made()) == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "", "HostPort": ""}],
        "53/udp": [{"HostIp": "", "HostPort": ""}],
    }
    assert container_ports.exposed(made(), BASE) == {"80/tcp": {}, "443/tcp": {}, "odd": {}, "53/udp": {}}
    assert container_ports.exposed(made(), {"ExposedPorts": ["80/tcp"]}) == {"80/tcp": {}, "53/udp": {}}


def test_what_leads_to_it_while_it_runs() -> None:
    assert container_ports.bound(made(), BASE) == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "0.0.0.0", "HostPort": "32768"}],
        "443/tcp": None,
        "odd": None,
        "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "32769"}],
    }
    assert container_ports.rows(made(), BASE) == [
        {"PrivatePort": 443, "Type": "tcp"},
        {"IP": "0.0.0.0", "PrivatePort": 53, "Type": "udp", "PublicPort": 32769},
        {"IP": "0.0.0.0", "PrivatePort": 80, "Type": "tcp", "PublicPort": 8080},
        {"IP": "0.0.0.0", "PrivatePort": 80, "Type": "tcp", "PublicPort": 32768},
    ]


@pytest.mark.parametrize("name", ["9" * 5000 + "/tcp", "70000/tcp", "0/tcp", "\u0663/tcp", "80/x", "80/tcp/udp"])
def test_a_port_that_no_client_could_read_is_not_in_a_row(name: str) -> None:
    running = made(ports=(), sandbox=Sandbox("/ns", (Endpoint("bridge", "n", "e", "172.18.0.2", 16),)))
    assert container_ports.rows(running, {"ExposedPorts": {name: {}, "80/tcp": {}}}) == [
        {"PrivatePort": 80, "Type": "tcp"}
    ]


@pytest.mark.parametrize(
    "ended", [made(phase=Phase.EXITED, sandbox=Sandbox()), made(sandbox=Sandbox("", (Endpoint("host"),)))]
)
def test_nothing_leads_to_one_that_has_ended_or_is_on_the_hosts_network(ended: Container) -> None:
    assert container_ports.bound(ended, BASE) == {}
    assert container_ports.rows(ended, BASE) == []


@pytest.mark.parametrize(
    ("values", "field", "found"),
    [
        (["8080"], "PublicPort", True),
        (["80"], "PublicPort", False),
        (["80"], "PrivatePort", True),
        (["443/tcp"], "PrivatePort", True),
        (["443"], "PublicPort", False),
        (["32000-33000/udp"], "PublicPort", True),
        (["8000-8079", "8080-8090"], "PublicPort", True),
        (["8080/udp"], "PublicPort", False),
        ([], "PublicPort", False),
    ],
)
def test_filters_name_ports_and_ranges(values: list[str], field: str, found: bool) -> None:
    assert container_ports.any_matches(values, container_ports.rows(made(), BASE), field) == found


def test_a_filters_value_is_a_port_or_a_range() -> None:
    assert all(map(container_ports.is_port, ("80", "80/udp", "1-9/sctp")))
    assert not any(map(container_ports.is_port, ("", "x", "80/", "80/icmp", "1-", "123456", "80\n")))
