"""A daemon that makes nothing: it takes what clients of the Engine API send to deploy a stack, and remembers it.

Two clients that are to send the same can be compared without containers.
"""

import json
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_INFO = {"Swarm": {"ControlAvailable": True, "LocalNodeState": "active", "NodeID": "n1"}, "Name": "recorder", "ID": "r"}
_KINDS = ("services", "networks", "secrets", "configs")


class Recorder:
    """What was made, by kind and name, as it was sent."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in _KINDS}
        self.external: set[str] = set()  # names of objects that are there without having been made
        self.versions: dict[str, int] = {}  # by id, once an object was changed
        # Called with the method and path of each request. It may change what is there, or refuse: status and reason.
        self.before: Callable[[str, str], tuple[int, str] | None] = lambda method, path: None

    def listed(self, kind: str, filters: dict[str, Any]) -> list[dict[str, Any]]:
        there = {name: {"Name": name, "Labels": {}} for name in self.external} | self.made[kind]
        labels = [each.partition("=") for each in filters.get("label", ())]
        names = filters.get("name", ())
        return [
            self.shown(kind, name, body)
            for name, body in there.items()
            if all(_has(body.get("Labels") or {}, *each) for each in labels)
            and (not names or any(each in name for each in names))
        ]

    def shown(self, kind: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        identity = f"{kind}-{name}"
        if kind == "networks":
            return {"Id": identity, "Scope": "swarm", "Driver": "overlay", **body, "Name": name}
        return {"ID": identity, "Version": {"Index": self.versions.get(identity, 1)}, "Spec": body}

    def changed(self, kind: str, name: str) -> None:
        """Count a change of an object: who wants to change it must name the new version."""
        identity = f"{kind}-{name}"
        self.versions[identity] = self.versions.get(identity, 1) + 1

    def found(self, kind: str, ref: str) -> dict[str, Any] | None:
        return next((each for each in self.listed(kind, {}) if ref in _names(each)), None)


def _has(labels: dict[str, str], key: str, equals: str, value: str) -> bool:
    return labels.get(key) == value if equals else key in labels


def _names(found: dict[str, Any]) -> tuple[str, ...]:
    spec = found.get("Spec", found)
    return str(found.get("ID", "")), str(found.get("Id", "")), str(spec.get("Name", ""))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    recorder: Recorder

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Api-Version", "1.47")
        self.send_header("Ostype", "linux")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _parts(self) -> list[str]:
        parts = [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]
        return parts[1:] if parts[0].startswith("v1.") else parts

    def do_HEAD(self) -> None:
        self._answer("OK")

    def _is_refused(self) -> bool:
        refused = self.recorder.before(self.command, "/" + "/".join(self._parts()))
        if refused is not None:
            self._answer({"message": refused[1]}, refused[0])
        return refused is not None

    def do_GET(self) -> None:
        if self._is_refused():
            return
        kind, *rest = self._parts()
        query = parse_qs(urlsplit(self.path).query)
        if kind == "info":
            self._answer(_INFO)
        elif kind in _KINDS and not rest:
            filters = json.loads(query.get("filters", ["{}"])[0])
            self._answer(self.recorder.listed(kind, filters))
        elif kind in _KINDS and (found := self.recorder.found(kind, rest[0])) is not None:
            self._answer(found)
        else:
            self._answer({"message": f"{self.path} not found"}, 404)

    def do_POST(self) -> None:
        kind, *rest = self._parts()
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self._is_refused():
            return
        identity = f"{kind}-{body['Name']}"
        if rest[-1] == "update":
            version = parse_qs(urlsplit(self.path).query).get("version", [""])[0]
            if version != str(self.recorder.versions.get(identity, 1)):
                self._answer({"message": "rpc error: code = Unknown desc = update out of sequence"}, 500)
                return
            self.recorder.changed(kind, body["Name"])
        self.recorder.made[kind][body["Name"]] = body
        self._answer({"ID": identity, "Id": identity}, 200 if rest[-1] == "update" else 201)

    def do_DELETE(self) -> None:
        if self._is_refused():
            return
        kind, ref = self._parts()
        found = self.recorder.found(kind, ref)
        if found is not None:
            self.recorder.made[kind].pop(_names(found)[2], None)
        self._answer({})


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone without reading its answer; show any other defect."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def recorder(folder: Path) -> Iterator[tuple[str, Recorder]]:
    """Serve on a socket in a folder. Yields the URL, and what is recorded."""
    made = Recorder()
    handler = type("Handler", (_Handler,), {"recorder": made})
    path = folder / "r"
    with _Server(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"unix://{path}", made
        finally:
            server.shutdown()
            thread.join()
            path.unlink()
