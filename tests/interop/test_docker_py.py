"""docker-py against a swarm of one: swarm, nodes, services, tasks, containers, images, volumes."""

from collections.abc import Iterator

import docker
import pytest
from docker.types import Healthcheck, Mount, Resources, RestartPolicy, ServiceMode, UpdateConfig

from tests.harness import images
from tests.harness.hosts import Host, eventually, host

NO_GRACE = 10**8  # nanoseconds; sleep, as process 1, ignores SIGTERM


@pytest.fixture
def client(swarm: Host) -> Iterator[docker.DockerClient]:
    made = docker.DockerClient(base_url=f"unix://{swarm.socket}")
    yield made
    made.close()


def test_swarm_of_its_own() -> None:
    with host("py") as own:
        made = docker.DockerClient(base_url=f"unix://{own.socket}")
        assert made.ping()
        node_id = made.swarm.init(listen_addr="0.0.0.0:2377")
        assert made.nodes.list()[0].id == node_id
        made.swarm.reload()
        assert made.swarm.attrs["JoinTokens"]["Worker"].startswith("SWMTKN-1-")
        made.swarm.update(rotate_worker_token=True)
        assert made.swarm.leave(force=True)
        made.close()


def test_nodes(client: docker.DockerClient) -> None:
    (node,) = client.nodes.list(filters={"role": "manager"})
    assert node.attrs["Status"]["State"] == "ready"
    node.update({**node.attrs["Spec"], "Labels": {"zone": "a"}})
    node.reload()
    assert node.attrs["Spec"]["Labels"] == {"zone": "a"}
    node.update({**node.attrs["Spec"], "Labels": {}})


def test_services_tasks_and_logs(client: docker.DockerClient) -> None:
    service = client.services.create(
        "bb:latest",
        command=["sh", "-c"],
        args=["echo hello; exec sleep 1000000"],
        name="py",
        env=["A=1"],
        mode=ServiceMode("replicated", replicas=2),
        resources=Resources(mem_limit=64 << 20),
        restart_policy=RestartPolicy("any", delay=0),
        stop_grace_period=NO_GRACE,
        update_config=UpdateConfig(parallelism=0, monitor=100_000_000),
        mounts=[Mount("/scratch", None, type="tmpfs")],
        healthcheck=Healthcheck(test=["CMD", "true"], interval=1_000_000_000),
    )
    eventually(lambda: [t for t in service.tasks() if t["Status"]["State"] == "running"][1:], "two run")
    lines = eventually(
        lambda: (got := b"".join(service.logs(stdout=True))).count(b"hello") == 2 and got, "both have spoken"
    )
    assert lines.count(b"hello\n") == 2
    assert service.scale(3)
    eventually(lambda: len([t for t in service.tasks() if t["Status"]["State"] == "running"]) == 3, "three run")
    service.reload()
    service.update(image="bb:latest", env=["A=2"])
    eventually(
        lambda: {tuple(c.attrs["Config"]["Env"] or ()).count("A=2") for c in client.containers.list()} == {1},
        "all updated",
    )
    assert [found.name for found in client.services.list(filters={"name": "py"})] == ["py"]
    service.remove()
    with pytest.raises(docker.errors.NotFound):
        client.services.get("py")


def test_containers_exec_logs_stats(client: docker.DockerClient) -> None:
    command = ["sh", "-c", "echo up; exec sleep 1000000"]
    client.services.create("bb:latest", command=command, name="one", stop_grace_period=NO_GRACE)
    (container,) = eventually(lambda: client.containers.list(), "it runs")
    assert container.exec_run("echo through").output == b"through\n"
    code, (out, err) = container.exec_run(["sh", "-c", "echo o; echo e >&2; exit 4"], demux=True)
    assert (code, out, err) == (4, b"o\n", b"e\n")
    assert container.logs() == b"up\n"
    assert container.stats(stream=False)["memory_stats"]["usage"] > 0
    assert container.top()["Titles"][0] == "UID"
    container.kill()
    assert container.wait()["StatusCode"] == 137


def test_images_and_volumes(client: docker.DockerClient) -> None:
    client.api.import_image_from_data(images.busybox_rootfs(), repository="fromdata", tag="1")
    image = client.images.get("fromdata:1")
    assert image.tag("named", "2")
    assert "named:2" in [tag for found in client.images.list() for tag in found.tags]
    for name in ("named:2", "fromdata:1"):
        client.images.remove(name)
    volume = client.volumes.create("pyvol", labels={"a": "b"})
    assert client.volumes.get("pyvol").attrs["Labels"] == {"a": "b"}
    volume.remove()
    assert client.df()["Images"]
    assert client.info()["Swarm"]["LocalNodeState"] == "active"
    assert client.version()["ApiVersion"] == "1.50"
