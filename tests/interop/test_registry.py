"""A real registry on loopback: a service is pinned to the digest that the registry serves, with and without a
password.
"""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.harness import images
from tests.harness.hosts import Host, eventually, host, run
from tests.interop.services import create_detached, inspect, only, running, tasks

PORT = 5000
CONFIG = """\
version: 0.1
storage:
  filesystem:
    rootdirectory: {root}
http:
  addr: 127.0.0.1:{port}
{auth}
"""
AUTH = """\
auth:
  htpasswd:
    realm: test
    path: {path}
"""

QUICK = ("--update-monitor", "50ms", "--stop-signal", "KILL")  # to watch the registry, and to stop it


@contextlib.contextmanager
def registry(on: Host, folder: Path, password: str = "") -> Iterator[None]:
    """Yield Debian's docker-registry on the host's loopback, with the busybox image as test/bb:1."""
    auth = ""
    if password:
        users = folder / "htpasswd"
        users.write_text(run("htpasswd", "-Bbn", "user", password).stdout)
        auth = AUTH.format(path=users)
    config = folder / "config.yml"
    config.write_text(CONFIG.format(root=folder / "blobs", port=PORT, auth=auth))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            on.inside("docker-registry", "serve", str(config)), stdout=log, stderr=log, start_new_session=True
        )
    try:
        eventually(
            lambda: (
                run(*on.inside("curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{PORT}/v2/"), check=False).returncode
                == 0
            ),
            "the registry answers",
        )
        push(on, folder, password)
        yield
    finally:
        process.kill()
        process.wait()


def push(on: Host, folder: Path, password: str) -> None:
    """Put the image into the registry, as an OCI layout made by hand and copied by skopeo."""
    layout = folder / "layout"
    shutil.rmtree(layout, ignore_errors=True)
    images.write_oci_layout(layout, images.busybox_rootfs(), {"Cmd": ["sleep", "1000000"]})
    credentials = ["--dest-creds", f"user:{password}"] if password else []
    run(
        *on.inside(
            "skopeo",
            "copy",
            "--dest-tls-verify=false",
            *credentials,
            f"oci:{layout}:latest",
            f"docker://127.0.0.1:{PORT}/test/bb:1",
        )
    )


def test_pull_pins_the_service_to_the_digest(tmp_path: Path) -> None:
    name = f"127.0.0.1:{PORT}/test/bb:1"
    with host("pull") as puller, registry(puller, tmp_path):
        out = puller.docker("pull", name).stdout
        assert "Status: Downloaded newer image" in out
        assert "Digest: sha256:" in out
        digests = json.loads(puller.docker("image", "inspect", name).stdout)[0]["RepoDigests"]
        puller.docker("rmi", name)
        puller.docker("swarm", "init")
        puller.docker("service", "create", *QUICK, "--name", "web", name)
        image = json.loads(puller.docker("service", "inspect", "web").stdout)[0]["Spec"]["TaskTemplate"][
            "ContainerSpec"
        ]
        assert image["Image"].startswith(f"{name}@sha256:")
        assert image["Image"].endswith(digests[0].partition("@")[2])
        assert inspect(puller, only(puller, "web"))["State"]["Running"]
        missing = puller.docker("pull", f"127.0.0.1:{PORT}/test/nosuch:1", check=False)
        assert missing.returncode == 1
        assert "nosuch" in missing.stderr
        puller.docker("swarm", "leave", "--force")


def test_password_reaches_the_nodes_with_the_service(tmp_path: Path) -> None:
    name = f"127.0.0.1:{PORT}/test/bb:1"
    with host("auth") as puller, registry(puller, tmp_path, password="geheim"):
        puller.docker("swarm", "init")
        create_detached(puller, "denied", "--restart-condition", "none", image=name, command=())
        (task,) = eventually(
            lambda: [task for task in tasks(puller, "denied") if task["Status"]["State"] == "rejected"],
            "rejected without a password",
            show=puller.log,
        )
        assert "denied" in task["Status"]["Err"] or "authentication required" in task["Status"]["Err"]
        home = tmp_path / "home"
        home.mkdir()
        login = ("--config", str(home), "login", "-u", "user", "--password-stdin", f"127.0.0.1:{PORT}")
        refused = puller.docker(*login, check=False, input="falsch")
        assert refused.returncode == 1
        assert "invalid username/password" in refused.stderr
        assert "Login Succeeded" in puller.docker(*login, input="geheim").stdout
        puller.docker("--config", str(home), "service", "create", *QUICK, "--with-registry-auth", "--name", "web", name)
        assert running(puller, "web")
        image = json.loads(puller.docker("service", "inspect", "web").stdout)[0]["Spec"]["TaskTemplate"][
            "ContainerSpec"
        ]
        assert "@sha256:" in image["Image"]
        puller.docker("rmi", "-f", name, check=False)
        assert "geheim" not in puller.log()
        puller.docker("swarm", "leave", "--force")
