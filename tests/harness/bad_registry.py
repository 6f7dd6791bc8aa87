"""A registry on loopback that serves what a test gives it, true or not, and as slowly as the test wants."""

import hashlib
import json
import platform
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KIND = "application/vnd.docker.distribution.manifest.v2+json"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class BadRegistry:
    """The contents: manifests by repository, and blobs. `trickle`: blobs of which one byte a second is sent, without
    end.
    """

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.trickle: set[str] = set()
        self.endless: set[str] = set()
        self.asked = 0  # for blobs that trickle
        self.address = ""

    def put(
        self,
        repository: str,
        layer: bytes,
        image: Mapping[str, Any] | None = None,
        *,
        slow: bool = False,
        manifest: Mapping[str, Any] | None = None,
    ) -> None:
        """Add an image of one layer. The fields in `image` and `manifest` replace the true ones."""
        true = {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": {"Cmd": ["sleep", "1d"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }
        config = json.dumps(true | dict(image or {})).encode()
        self.blobs[digest(config)], self.blobs[digest(layer)] = config, layer
        if slow:
            self.trickle.add(digest(layer))
        fields = {
            "schemaVersion": 2,
            "mediaType": KIND,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "digest": digest(config),
                "size": len(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                    "digest": digest(layer),
                    "size": len(layer),
                }
            ],
        }
        self.manifests[repository] = json.dumps(fields | dict(manifest or {})).encode()

    def find(self, kind: str, path: list[str]) -> bytes | None:
        """Return the manifest or blob at a path. Clients ask for anything else to see whether a registry is here."""
        if kind == "manifests":
            return self.manifests.get("/".join(path[1:-2]))
        return self.blobs.get(path[-1]) if kind == "blobs" else b"{}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    registry: BadRegistry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.strip("/").split("/")
        kind = path[-2] if len(path) > 2 else ""
        data = self.server.registry.find(kind, path)
        self.send_response(200 if data is not None else 404)
        if data is None:
            data = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
        self.send_header("Content-Type", KIND if kind == "manifests" else "application/octet-stream")
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if kind == "manifests":
            self.send_header("Docker-Content-Digest", digest(data))
        if path[-1] in self.server.registry.endless:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            try:
                self._send(path[-1], data)
            except OSError:
                self.close_connection = True

    def _send(self, name: str, data: bytes) -> None:
        if name in self.server.registry.trickle:
            self.server.registry.asked += 1
            for byte in data:
                self.wfile.write(bytes([byte]))
                time.sleep(1)
        elif name in self.server.registry.endless:
            while True:
                self.wfile.write(bytes(1 << 20))
        else:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        return


@contextmanager
def bad_registry(address: str = "127.0.0.1") -> Iterator[BadRegistry]:
    """Run one."""
    made = BadRegistry()
    server = _Server((address, 0), _Handler)
    server.registry = made
    made.address = f"{address}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
