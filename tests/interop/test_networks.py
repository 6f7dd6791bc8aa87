"""Networks by Docker's own command: what managers assign, without any task."""

import json
import re
from typing import Any

from shoal.network.process.state import last_wanted
from tests.harness.hosts import Host, eventually
from tests.interop.services import create_detached, running


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


def node_on_ingress(swarm: Host) -> tuple[str, int] | None:
    """Return the node's own address on ingress, and the MTU that was asked for, as its network process is told."""
    wanted = last_wanted(swarm.exec_root / "network")
    found = [one for one in (wanted.overlays if wanted else ()) if one.ingress]
    return (found[0].node_address, found[0].mtu) if found else None


def test_ingress_can_be_removed_and_made_as_one_likes(swarm: Host) -> None:
    eventually(lambda: node_on_ingress(swarm) == ("10.0.0.2/24", 0), "the node is on ingress", show=swarm.log)
    mine = ("network", "create", "-d", "overlay", "--ingress", "--subnet", "10.88.0.0/16", "--gateway", "10.88.0.9")
    second = swarm.docker(*mine, "mine", check=False)
    assert re.search(r"ingress network \([a-z0-9]{25}\) is already present", second.stderr)
    asked = swarm.docker("network", "rm", "ingress", input="n\n", check=False)
    assert "Before removing the routing-mesh network" in asked.stdout
    assert "ingress" in swarm.docker("network", "ls", "--format", "{{.Name}}").stdout.split()
    swarm.docker("network", "rm", "ingress", input="y\n")
    assert "ingress" not in swarm.docker("network", "ls", "--format", "{{.Name}}").stdout.split()
    eventually(lambda: node_on_ingress(swarm) is None, "the node is on none", show=swarm.log)
    with_port = swarm.docker("service", "create", "-d", "--name", "web", "-p", "80:80", "busybox", check=False)
    assert "service needs ingress network, but no ingress network is present" in with_port.stderr
    create_detached(swarm, "plain", "--replicas", "1")  # which needs none
    eventually(lambda: len(running(swarm, "plain")) == 1, "it runs", show=swarm.log)
    refused = swarm.docker(*mine, "--attachable", "mine", check=False)
    assert "ingress network cannot be attachable" in refused.stderr
    swarm.docker(*mine, "--opt", "com.docker.network.driver.mtu=1300", "mine")
    own = eventually(lambda: (found := shown(swarm, "network", "mine"))["IPAM"]["Config"] and found, "it has a subnet")
    assert (own["Ingress"], own["IPAM"]["Config"]) == (True, [{"Subnet": "10.88.0.0/16", "Gateway": "10.88.0.9"}])
    assert own["Options"]["com.docker.network.driver.mtu"] == "1300"
    eventually(lambda: node_on_ingress(swarm) == ("10.88.0.1/16", 1300), "the node is on it", show=swarm.log)
    explicit = swarm.docker("service", "create", "-d", "--name", "web", "--network", "mine", "busybox", check=False)
    assert 'Service cannot be explicitly attached to the ingress network "mine"' in explicit.stderr
    assert swarm.docker("network", "prune", "-f").stdout == ""
    swarm.docker("service", "rm", "plain")
    swarm.docker("network", "rm", "mine", input="y\n")
    swarm.docker("network", "create", "-d", "overlay", "--ingress", "ingress")


def test_ports_on_the_hosts_network_are_refused_by_name(swarm: Host) -> None:
    flags = ("--network", "host", "--publish", "80:80")
    done = swarm.docker("service", "create", "--name", "web", *flags, "busybox", check=False)
    assert done.returncode == 1
    assert "ports cannot be published for a service on the network host" in done.stderr
