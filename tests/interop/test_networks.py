"""Networks by Docker's own command: what managers assign, without any task."""

import json
from typing import Any

from tests.harness.hosts import Host, eventually
from tests.interop.services import create_detached


def shown(swarm: Host, kind: str, name: str) -> Any:
    return json.loads(swarm.docker(kind, "inspect", name).stdout)[0]


def test_networks_are_made_listed_shown_and_removed(swarm: Host) -> None:
    swarm.docker("network", "create", "-d", "overlay", "--attachable", "--label", "a=b", "blue")
    red = ("--subnet", "10.77.0.0/24", "--gateway", "10.77.0.9", "--ip-range", "10.77.0.128/25")
    swarm.docker("network", "create", "-d", "overlay", "--internal", *red, "red")
    listed = swarm.docker("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").stdout.splitlines()
    assert {"blue overlay swarm", "red overlay swarm", "ingress overlay swarm"} <= set(listed)
    blue = eventually(lambda: (found := shown(swarm, "network", "blue"))["IPAM"]["Config"] and found, "it has a subnet")
    assert blue["IPAM"]["Config"] == [{"Subnet": "10.0.1.0/24", "Gateway": "10.0.1.1"}]
    assert blue["Options"] == {"com.docker.network.driver.overlay.vxlanid_list": "4097"}
    assert (blue["Attachable"], blue["Labels"]) == (True, {"a": "b"})
    assert shown(swarm, "network", "red")["IPAM"]["Config"] == [
        {"Subnet": "10.77.0.0/24", "IPRange": "10.77.0.128/25", "Gateway": "10.77.0.9"}
    ]
    again = swarm.docker("network", "create", "-d", "overlay", "blue", check=False)
    assert "network with name blue already exists" in again.stderr
    assert swarm.docker("network", "rm", "red").stdout == "red\n"
    assert swarm.docker("network", "prune", "-f").stdout == "Deleted Networks:\nblue\n\n"


def test_a_service_shows_its_virtual_ips(swarm: Host) -> None:
    swarm.docker("network", "create", "-d", "overlay", "blue")
    create_detached(swarm, "web", "--replicas", "0", "--network", "blue")
    endpoint = eventually(
        lambda: (found := shown(swarm, "service", "web")["Endpoint"]).get("VirtualIPs") and found, "it has addresses"
    )
    subnet = shown(swarm, "network", "blue")["IPAM"]["Config"][0]["Subnet"].removesuffix("0/24")
    assert [vip["Addr"] for vip in endpoint["VirtualIPs"]] == [f"{subnet}2/24"]
    pretty = swarm.docker("service", "inspect", "--pretty", "web").stdout
    assert "Networks: blue" in pretty
    busy = swarm.docker("network", "rm", "blue", check=False)
    assert "is in use by service" in busy.stderr
    swarm.docker("service", "rm", "web")
    swarm.docker("network", "rm", "blue")


def test_ports_on_the_hosts_network_are_refused_by_name(swarm: Host) -> None:
    flags = ("--network", "host", "--publish", "80:80")
    done = swarm.docker("service", "create", "--name", "web", *flags, "busybox", check=False)
    assert done.returncode == 1
    assert "ports cannot be published for a service on the network host" in done.stderr
