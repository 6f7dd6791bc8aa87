"""A registry on loopback: Debian's docker-registry, empty, with or without a password."""

import contextlib
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.hosts import eventually, run

USER, PASSWORD = "someone", "a-password-of-tests"


class Registry:
    """A running registry and its contents."""

    def __init__(self, folder: Path, password: bool) -> None:
        self.folder = folder
        self.login = password
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"

    def push(self, archive: Path, name: str) -> str:
        """Copy an archive of `docker save` into it. Returns the digest of the manifest."""
        login = ("--dest-creds", f"{USER}:{PASSWORD}") if self.login else ()
        digest_file = self.folder / "pushed"
        run(
            *("skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", *login),
            *("--digestfile", str(digest_file), f"docker-archive:{archive}", f"docker://{self.address}/{name}"),
        )
        return digest_file.read_text().strip()

    def put(self, repository: str, tag: str, manifest: dict[str, object]) -> None:
        """Store a manifest or an index as it is."""
        request = urllib.request.Request(
            f"http://{self.address}/v2/{repository}/manifests/{tag}",
            data=json.dumps(manifest).encode(),
            method="PUT",
            headers={"Content-Type": str(manifest["mediaType"])},
        )
        urllib.request.urlopen(request).close()

    def get(self, repository: str, digest: str) -> bytes:
        """Return a manifest as it is."""
        request = urllib.request.Request(
            f"http://{self.address}/v2/{repository}/manifests/{digest}",
            headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
        )
        with urllib.request.urlopen(request) as reply:
            return bytes(reply.read())

    def blob_file(self, digest: str) -> Path:
        """Return the path of a blob on its disk."""
        digits = digest.removeprefix("sha256:")
        return self.folder / "data/docker/registry/v2/blobs/sha256" / digits[:2] / digits / "data"

    def requests(self) -> str:
        """Return its log."""
        return (self.folder / "log").read_text(errors="replace")

    def answers(self) -> bool:
        """Return whether it is up."""
        try:
            urllib.request.urlopen(f"http://{self.address}/v2/").close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


@contextlib.contextmanager
def registry(folder: Path, *, password: bool = False) -> Iterator[Registry]:
    """Run a registry below `folder`. The test fails if docker-registry is not installed."""
    if not shutil.which("docker-registry") or (password and not shutil.which("htpasswd")):
        pytest.fail("docker-registry or htpasswd is not installed: script/bootstrap test installs both")
    folder.mkdir()
    made = Registry(folder, password)
    config: dict[str, object] = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": made.address},
    }
    if password:
        (folder / "htpasswd").write_text(run("htpasswd", "-Bbn", USER, PASSWORD).stdout)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        eventually(made.answers, "the registry answers", show=made.requests)
        yield made
    finally:
        process.kill()
        process.wait()
