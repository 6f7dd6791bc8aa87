"""An unmodified Docker Engine follows our root rotation, twice, while a service on it runs on."""

import json

from tests.cluster.swarms import containers, create, make_swarm, nodes, tasks, wait_running
from tests.harness.network import network
from tests.interop.conftest import import_image


def test_engine_moves_to_the_new_root() -> None:
    with network("rotdocker") as net:
        manager, engine = net.add("m"), net.add_docker("docker")
        import_image(engine)
        secret = make_swarm(manager)
        engine.docker("swarm", "join", "--token", secret, f"{manager.address}:2377")
        create(manager, "web", 2)
        wait_running(manager, "web", {"m": 1, "docker": 1})
        before = {task["ID"] for task in tasks(manager, "web")}
        for _ in range(2):
            # The command returns when every node says that it trusts the new root.
            manager.docker("swarm", "ca", "--rotate", timeout=100)
            swarm = json.loads(manager.curl("/swarm"))["TLSInfo"]
            assert json.loads(manager.docker("node", "inspect", "docker").stdout)[0]["Description"]["TLSInfo"] == swarm
        assert nodes(manager) == {"m": "Ready", "docker": "Ready"}
        assert {task["ID"] for task in tasks(manager, "web")} == before
        assert containers(engine) == 1
        # It gets tasks over sessions with the new certificate.
        manager.docker("service", "scale", "-d", "web=4")
        wait_running(manager, "web", {"m": 2, "docker": 2})
        manager.docker("service", "rm", "web")
