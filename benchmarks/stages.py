"""Finds the steps of one of Shoal's tasks and their times, from the events of tasks and containers."""

import http.client
import json
import socket
import statistics
import threading
import time
from typing import TYPE_CHECKING

from benchmarks.report import settle
from benchmarks.sides import Shoal
from tests.harness.api import UnixConnection

if TYPE_CHECKING:
    from benchmarks.scale_up import Bench

RUNS = 7


class Listener(threading.Thread):
    """Reads the event stream of a side, and keeps the events with the times that the daemon gave them."""

    def __init__(self, side: Shoal) -> None:
        super().__init__(daemon=True)
        self._connection = UnixConnection(side.host.socket)
        self._connection.request("GET", "/events")
        assert self._connection.sock is not None
        self._socket: socket.socket = self._connection.sock
        self._answer: http.client.HTTPResponse = self._connection.getresponse()
        self.seen: list[tuple[str, float]] = []

    def run(self) -> None:
        """Read until the connection is closed."""
        try:
            for line in self._answer:
                event = json.loads(line)
                attributes = event["Actor"]["Attributes"]
                what = f"{event['Type']} {event['Action']}"
                if "state.new" in attributes:
                    what = f"task {attributes['state.new']}"
                self.seen.append((what, event["timeNano"] / 1e9))
        except (OSError, ValueError, AttributeError):
            return  # closed by `close`

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)  # closing the answer would wait for the thread that reads from it
        self.join()
        self._connection.close()


def stages(bench: "Bench", side: Shoal) -> str:
    """Return a table of the steps and their times after the request, as medians over several tasks."""
    found: dict[str, list[float]] = {}
    for _ in range(RUNS):
        listener = Listener(side)
        listener.start()
        settle()
        began = time.time()
        name = bench.create(side, 1)
        answered = time.time() - began
        bench.wait(side, name, 1)
        time.sleep(0.2)
        listener.close()
        found.setdefault("POST answered", []).append(answered)
        first: dict[str, float] = {}
        for what, at in listener.seen:
            first.setdefault(what, at - began)
        for what, after in first.items():
            found.setdefault(what, []).append(after)
        bench.remove(side, name)
    rows = sorted((statistics.median(values) * 1000, what) for what, values in found.items())
    return "\n".join(f"  {after:8.1f}  {what}" for after, what in rows)
