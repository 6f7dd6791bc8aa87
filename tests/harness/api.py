"""The Engine API as a small client: one connection to a unix socket, JSON both ways.

For demos and benchmarks: they must work where neither the `docker` command nor docker-py is, and their client must cost
nothing. Tests use Docker's own clients, but where they look again and again.
"""

import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote


class ApiError(Exception):
    """An answer with an error status, which it carries."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(f"{status}: {message}")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float = 120) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Client:
    """Makes calls one after another over one connection, which is kept open."""

    def __init__(self, path: Path, version: str = "v1.41", timeout: float = 120) -> None:
        self._connection = UnixConnection(path, timeout)
        self._version = version

    def call(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """Return the JSON (or text) of an answer. Raises ApiError for a status of 400 and above."""
        headers = {}
        if body is not None:
            headers["Content-Type"] = kind
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request(method, f"/{self._version}{path}", body=body, headers=headers)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 400:
            try:
                message = json.loads(data)["message"]
            except (ValueError, KeyError, TypeError):
                message = data.decode(errors="replace")
            raise ApiError(answer.status, message)
        if "json" not in answer.headers.get("Content-Type", "") or not data.strip():
            return data
        try:
            return json.loads(data)
        except ValueError:
            return [json.loads(line) for line in data.splitlines() if line.strip()]

    def get(self, path: str, **filters: list[str]) -> Any:
        """GET a path, with `filters` if some are given."""
        query = f"?filters={quote(json.dumps(filters))}" if filters else ""
        return self.call("GET", path + query)

    def tasks(self, service: str) -> list[dict[str, Any]]:
        """Return the tasks of a service."""
        found: list[dict[str, Any]] = self.get("/tasks", service=[service])
        return found

    def import_image(self, tar: bytes, repository: str, tag: str = "latest", *changes: str) -> None:
        """Make an image of a root file system."""
        query = "".join(f"&changes={quote(change)}" for change in changes)
        self.call("POST", f"/images/create?fromSrc=-&repo={repository}&tag={tag}{query}", tar, kind="application/x-tar")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def service_spec(name: str, image: str, command: list[str], replicas: int, **task: Any) -> dict[str, Any]:
    """Return the spec of a replicated service that restarts at once."""
    container = {"Image": image, "Command": command, "StopGracePeriod": 1_000_000_000, **task.pop("container", {})}
    return {
        "Name": name,
        "TaskTemplate": {"ContainerSpec": container, "RestartPolicy": {"Condition": "any", "Delay": 0}, **task},
        "Mode": {"Replicated": {"Replicas": replicas}},
    }
