"""Generic resources, named and counted, that services reserve, and devices of CDI files that containers get."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.harness.api import Client
from tests.harness.hosts import Host, eventually, host
from tests.interop.conftest import IMAGE, import_image
from tests.interop.services import create, create_detached, only, running, tasks

STARVED = "no suitable node (insufficient resources on 1 node)"


def by_state(on: Host, service: str) -> dict[str, list[dict[str, Any]]]:
    """Return the tasks of a service that should run, by their state."""
    found: dict[str, list[dict[str, Any]]] = {}
    for task in tasks(on, service):
        if task["DesiredState"] == "running":
            found.setdefault(task["Status"]["State"], []).append(task)
    return found


def environment(on: Host, container: str) -> dict[str, str]:
    lines = on.docker("exec", container, "cat", "/proc/1/environ").stdout.split("\0")
    return dict(line.split("=", 1) for line in lines if line)


def test_two_named_gpus_go_to_two_tasks_and_the_third_waits() -> None:
    with host("gpus", start=False) as gpus:
        config = {"node-generic-resources": ["gpu=one", "gpu=two", "ssd=4"]}
        (gpus.folder / "daemon.json").write_text(json.dumps(config))
        gpus.start("--cdi-spec-dir=")
        offered = [
            {"NamedResourceSpec": {"Kind": "gpu", "Value": "one"}},
            {"NamedResourceSpec": {"Kind": "gpu", "Value": "two"}},
            {"DiscreteResourceSpec": {"Kind": "ssd", "Value": 4}},
        ]
        assert json.loads(gpus.curl("/info"))["GenericResources"] == offered
        gpus.docker("swarm", "init")
        import_image(gpus)
        node = json.loads(gpus.docker("node", "inspect", "self").stdout)[0]
        assert node["Description"]["Resources"]["GenericResources"] == offered
        assert "Resources:" in gpus.docker("node", "inspect", "self", "--pretty").stdout

        create_detached(gpus, "train", "--generic-resource", "gpu=1", "--generic-resource", "ssd=1", "--replicas", "3")
        settled = eventually(
            lambda: (
                (now := by_state(gpus, "train"))
                and len(now.get("running", ())) == 2
                and now.get("pending", [{"Status": {}}])[0]["Status"].get("Err")
                and now
            ),
            "two run and the third says why it waits",
            show=gpus.log,
        )
        assert [task["Status"]["Err"] for task in settled["pending"]] == [STARVED]
        assert STARVED in gpus.docker("service", "ps", "train", "--no-trunc").stdout
        # In the order in which they are asked for, which Docker's client leaves to chance.
        claimed = [sorted(task["GenericResources"], key=json.dumps) for task in settled["running"]]
        counted = {"DiscreteResourceSpec": {"Kind": "ssd", "Value": 1}}
        assert sorted(claimed, key=json.dumps) == [[counted, gpu] for gpu in offered[:2]]
        seen = [environment(gpus, container) for container in running(gpus, "train")]
        assert {each["DOCKER_RESOURCE_GPU"] for each in seen} == {"one", "two"}
        assert {each["DOCKER_RESOURCE_SSD"] for each in seen} == {"1"}

        gpus.docker("service", "scale", "-d", "train=1")
        eventually(lambda: list(by_state(gpus, "train")) == ["running"], "one is left", show=gpus.log)
        create(gpus, "next", "--generic-resource", "gpu=1")
        taken = [environment(gpus, only(gpus, name))["DOCKER_RESOURCE_GPU"] for name in ("train", "next")]
        assert sorted(taken) == ["one", "two"]

        greedy = gpus.docker("service", "create", "--generic-resource", "gpu=one", IMAGE, check=False)
        assert "invalid generic-resource request" in greedy.stderr
        gpus.docker("swarm", "leave", "--force")


def test_a_wrong_resource_is_named_at_the_start() -> None:
    with host("wrong", start=False) as wrong:
        wrong.start("--node-generic-resource=gpu=1", "--node-generic-resource=gpu=a", wait=False)
        assert wrong.process is not None
        assert wrong.process.wait(30) == 1
        assert "mixed discrete and named resources in expression 'gpu=[1 a]'" in wrong.log()


def cdi_files(folder: Path) -> Path:
    """Yield a folder with a vendor's file of two devices, named as by NVIDIA's tool, and a broken file."""
    files = folder / "cdi"
    files.mkdir(mode=0o755)
    (folder / "library").write_text("of the vendor\n")

    def device(name: str, *paths: str) -> str:
        # A device that containers may not open by default.
        nodes = "".join(f"\n    - path: {path}\n      hostPath: /dev/kmsg" for path in paths)
        return f'\n- name: "{name}"\n  containerEdits:\n    env: [VENDOR_DEVICE={name}]\n    deviceNodes:{nodes}'

    (files / "vendor.yaml").write_text(
        f"""---
cdiVersion: "0.5.0"
kind: vendor.example/gpu
containerEdits:
  env: [VENDOR=1]
  mounts:
  - hostPath: {folder}/library
    containerPath: /usr/lib/vendor/library
    options: [ro, nosuid, nodev, bind]
  hooks:
  - hookName: createRuntime
    path: /bin/sh
    args: [sh, -c, "cat >> {folder}/hooked"]
devices:{device("0", "/dev/fake0")}{device("1", "/dev/fake1")}{device("all", "/dev/fake0", "/dev/fake1")}
"""
    )
    (files / "broken.json").write_text("{")
    return files


def test_a_container_is_given_the_device_that_its_task_has_claimed() -> None:
    with host("cdi", start=False) as cdi:
        files = cdi_files(cdi.folder)
        cdi.start(f"--cdi-spec-dir={files}")
        assert f"{files}/broken.json is not taken: it is no JSON" in cdi.log()
        # Docker's command shows these since version 28.
        with closing(Client(cdi.socket)) as client:
            info = client.get("/info")
        assert info["CDISpecDirs"] == [str(files)]
        assert "vendor.example/gpu=all" in [device["ID"] for device in info["DiscoveredDevices"]]
        cdi.docker("swarm", "init")
        import_image(cdi)
        create(cdi, "one", "--generic-resource", "gpu=1", "--user", "1000")
        create(cdi, "two", "--generic-resource", "gpu=1")
        create(cdi, "without")
        devices = {}
        for name in ("one", "two"):
            container = only(cdi, name)
            seen = environment(cdi, container)
            index = seen["DOCKER_RESOURCE_GPU"]
            assert (seen["VENDOR"], seen["VENDOR_DEVICE"]) == ("1", index)
            devices[name] = index
            path = f"/dev/fake{index}"
            there = cdi.docker("exec", container, "sh", "-c", "echo /dev/fake*; cat /usr/lib/vendor/library").stdout
            assert there == f"{path}\nof the vendor\n"
            # The container's own user can open it, and it is the device of the host.
            kind = cdi.docker("exec", container, "sh", "-c", f": > {path} && stat -c '%t:%T' {path}").stdout
            assert kind == "1:b\n"
        assert sorted(devices.values()) == ["0", "1"]
        without = only(cdi, "without")
        plain = cdi.docker("exec", without, "sh", "-c", "ls /dev /usr/lib; env").stdout
        assert not [word for word in ("fake", "vendor", "VENDOR") if word in plain]
        made = cdi.docker("exec", without, "sh", "-c", "mknod /made c 1 11 && : > /made", check=False)
        assert "Operation not permitted" in made.stderr + made.stdout
        states = (cdi.folder / "hooked").read_text()
        assert all(cdi.docker("inspect", "-f", "{{.Id}}", only(cdi, name)).stdout.strip() in states for name in devices)

        create_detached(cdi, "third", "--generic-resource", "gpu=1")
        waiting = eventually(
            lambda: [task for task in tasks(cdi, "third") if task["Status"].get("Err")], "it waits", show=cdi.log
        )
        assert waiting[0]["Status"]["Err"] == STARVED
        cdi.docker("swarm", "leave", "--force")
