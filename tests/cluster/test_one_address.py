"""Several daemons on one host's network that only differ in the ports on which they listen."""

import signal
from collections.abc import Iterator

import pytest

from tests.cluster.swarms import create, make_swarm, node_id, running, token, wait_running
from tests.harness.hosts import Host, eventually, host
from tests.interop.conftest import import_image

pytestmark = pytest.mark.root

PORTS = {"one": 2377, "two": 2378, "three": 2379, "four": 2380}


@pytest.fixture
def four() -> Iterator[list[Host]]:
    with host("one", start=False) as first:
        others = [Host(name, namespace=False) for name in list(PORTS)[1:]]
        made = [first, *others]
        try:
            for each in made:
                each.namespace, each.address, each.hostname = first.namespace, first.address, each.name
                each.start()
                import_image(each)
            yield made
            for each in made:
                each.docker("swarm", "leave", "--force")
                assert each.stop() == 0
                assert not each.leftovers()
        finally:
            for each in others:
                each.namespace = ""  # only the first one may remove it
                each.close()


def listen(on: Host) -> tuple[str, str]:
    return "--listen-addr", f"0.0.0.0:{PORTS[on.name]}"


def statuses(through: Host) -> dict[str, str]:
    done = through.docker("node", "ls", "--format", "{{.Hostname}}|{{.ManagerStatus}}", check=False)
    return dict(line.split("|") for line in done.stdout.splitlines())


def test_daemons_of_one_network_are_a_swarm(four: list[Host]) -> None:
    one, two, three, four_ = four
    make_swarm(one, *listen(one))
    for each, role in ((two, "manager"), (three, "manager"), (four_, "worker")):
        to = f"{one.address}:{PORTS['one']}"
        each.docker("swarm", "join", "--token", token(one, role), *listen(each), to)
    expected = {"one": "Leader", "two": "Reachable", "three": "Reachable", "four": ""}
    eventually(lambda: statuses(one) == expected, f"{expected}", every=0.1, show=one.log)
    create(two, "web", 4)
    wait_running(three, "web", {"one": 1, "two": 1, "three": 1, "four": 1})

    before = node_id(one)
    one.stop(signal.SIGKILL)
    eventually(lambda: "Leader" in statuses(two).values(), "another leads", every=0.1, show=two.log)
    two.docker("service", "scale", "-d", "web=8")
    one.start()
    eventually(lambda: statuses(one).get("one") == "Reachable", "it manages again", every=0.1, show=one.log)
    assert node_id(one) == before
    eventually(lambda: sum(running(one, "web").values()) == 8, "all run", every=0.1, show=one.log)
