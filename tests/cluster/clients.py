"""Clients that keep using a swarm during faults, over the Engine API of any of its managers."""

import random
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from tests.harness.api import ApiError, Client, service_spec
from tests.harness.hosts import Host
from tests.harness.known import WORDS, Found, Known

IMAGE = "bb:latest"
TIMEOUT = 4.0  # seconds until a client gives up, so that a paused manager does not hold it up
MOST = 3  # the most services and replicas of one client; a hundred containers more would only be slower


class User:
    """One user: a thread that creates, scales, updates and removes services of its own, through any manager."""

    def __init__(self, number: int, managers: list[Host], rng: random.Random) -> None:
        self._prefix = f"c{number}"
        self._managers, self._rng = managers, rng
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.known: dict[str, Known] = {}
        self.told: list[str] = []
        self.done = 0
        """How many writes were acknowledged."""
        self.errors: list[BaseException] = []

    def start(self) -> None:
        """Begin, or go on after a stop."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name=self._prefix)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the present call. Raises errors of the client itself."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self.errors:
            raise self.errors[0]

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._step()
                self._stop.wait(self._rng.random() * 0.3)
        except BaseException as error:  # noqa: BLE001 - raised by `stop`
            self.errors.append(error)

    def _step(self) -> None:
        here = [one for one in self.known.values() if not one.removed and not one.left]
        if len(here) < MOST and (not here or self._rng.random() < 0.5):
            return self._create()
        one = self._rng.choice(here)
        return self._remove(one) if self._rng.random() < 0.25 else self._update(one)

    def _create(self) -> None:
        name = f"{self._prefix}-{len(self.known)}"
        one = self.known[name] = Known(name)
        word = one.word(self._rng.randrange(MOST + 1))
        spec = service_spec(name, IMAGE, ["sleep", "1000000"], one.replicas[word])
        spec["TaskTemplate"]["ContainerSpec"]["StopSignal"] = "SIGKILL"
        spec["UpdateConfig"] = {"Parallelism": 2, "FailureAction": "continue", "Monitor": 100_000_000}
        spec["Labels"] = {WORDS: word}
        done, answer = self._call(f"create {name}", "POST", "/services/create", spec)
        if done:
            one.created, one.id = True, answer["ID"]
            one.acknowledged.append(word)

    def _update(self, one: Known) -> None:
        done, now = self._call("", "GET", f"/services/{one.name}")
        if not done:
            one.left = (one.removing or not one.created) and isinstance(now, ApiError) and now.status == 404
            return
        one.created = True
        spec = now["Spec"]
        replicas = spec["Mode"]["Replicated"]["Replicas"]
        kind = self._rng.choice(("scale", "scale", "update"))
        if kind == "scale":
            replicas = spec["Mode"]["Replicated"]["Replicas"] = self._rng.randrange(MOST + 1)
        word = one.word(replicas)
        if kind == "update":
            spec["TaskTemplate"]["ContainerSpec"]["Env"] = [f"WORD={word}"]
        spec["Labels"][WORDS] += f" {word}"
        path = f"/services/{now['ID']}/update?version={now['Version']['Index']}"
        done, _ = self._call(f"{kind} {one.name} {word}", "POST", path, spec)
        if done:
            one.acknowledged.append(word)

    def _remove(self, one: Known) -> None:
        one.removing = True
        one.removed, _ = self._call(f"remove {one.name}", "DELETE", f"/services/{one.name}")

    def _call(self, what: str, method: str, path: str, body: Any = None) -> tuple[bool, Any]:
        """Return whether a call was acknowledged, and the answer. After any error it is in doubt."""
        error: Exception
        for on in self._rng.sample(self._managers, len(self._managers)):
            since = time.monotonic()
            try:
                answer = ask(on, method, path, body, timeout=TIMEOUT)
            except ConnectionRefusedError as refused:
                error = refused  # nobody listens, so nothing was asked; ask another manager
                continue
            except (ApiError, OSError, HTTPException) as failed:
                self._tell(f"{what or path} by {on.name}: {type(failed).__name__} {failed}", since)
                return False, failed
            if what:
                self.done += 1
                self._tell(f"{what} by {on.name}: done", since)
            return True, answer
        return False, error

    def _tell(self, what: str, since: float) -> None:
        self.told.append(f"{clock()} {what} ({time.monotonic() - since:.2f} s)")


def clock() -> str:
    """Return the time of day in the format of the daemons' logs."""
    now = time.time()
    return time.strftime("%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}"


def ask(on: Host, method: str, path: str, body: Any = None, timeout: float = 30.0, **filters: list[str]) -> Any:
    """Make one call over a connection of its own."""
    client = Client(on.socket, timeout=timeout)
    try:
        return client.get(path, **filters) if filters else client.call(method, path, body)
    finally:
        client.close()


def found(services: list[dict[str, Any]]) -> list[Found]:
    """Return services of the API in the form in which they are compared with what is known."""
    return [
        Found(
            service["Spec"]["Name"],
            service["ID"],
            service["Spec"]["Labels"][WORDS].split(),
            service["Spec"]["Mode"]["Replicated"]["Replicas"],
        )
        for service in services
    ]


def attempt(work: Callable[[], Any], other: Any) -> Any:
    """Return a call's result, or `otherwise` if it is refused or lost."""
    try:
        return work()
    except (ApiError, OSError, HTTPException):
        return other
