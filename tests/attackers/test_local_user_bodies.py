"""A user of the API's socket sends anything at all as a body. The daemon goes on, and so do the services of others.

SHOAL_FUZZ_SEED sets the seed. tests/unit/engine/test_app_bodies_fuzz.py does the same with many more cases and without
a daemon.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.cluster.swarms import create, make_swarm, tasks, wait_running
from tests.harness.api import UnixConnection
from tests.harness.api_bodies import CALLS, EXEC, LISTS, WITH_PORT, with_files
from tests.harness.hostile import bent
from tests.harness.hosts import Host, eventually, host
from tests.harness.stolen_worker import disk_bytes, get, memory_bytes

pytestmark = pytest.mark.root

SEED = int(os.environ.get("SHOAL_FUZZ_SEED", "20261128"))  # fixed, because another seed each time would be another test
CASES, CALLS_A_CASE = 25, 10
DISK, MEMORY = 64 << 20, 100 << 20
WITH_FILES = with_files("SECRET-ID", "CONFIG-ID")
ASKED = [
    *CALLS.items(), ("/services/create", WITH_PORT), ("/services/create", WITH_FILES),
    ("/containers/{container}/exec", EXEC),
]  # fmt: skip
# Fields that may have any value: an update of them is accepted, whatever was asked before it.
LABELS = st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=200), min_size=1, max_size=5)
# Docker answers these with 500, too.
PLAIN = ("update out of sequence", "not found", "too large", "no such image", "exceeds")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Host]:
    with host("bodies-of-users") as made:
        make_swarm(made, "--advertise-addr", "10.99.0.1")
        create(made, "others", 1)
        create(made, "fuzzed", 1)
        for kind in ("secret", "config"):
            made.docker(kind, "create", "fuzzed", "-", input="hi")
        (name,) = made.docker("node", "ls", "--format", "{{.Hostname}}").stdout.split()
        for service in ("others", "fuzzed"):
            wait_running(made, service, {name: 1})
        yield made


def post(on: Host, path: str, body: bytes) -> tuple[int, str]:
    connection = UnixConnection(on.socket, timeout=30)
    try:
        connection.request("POST", path, body=body, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def fill(on: Host, path: str) -> str:
    """Fill a path with ids that exist, and with the version of the object that it changes."""
    (container, *_) = on.docker("ps", "-q").stdout.split()
    names = {
        "service": "fuzzed", "secret": "fuzzed", "config": "fuzzed", "container": container,
        "node": json.loads(get(on, "/nodes")[1])[0]["ID"],
    }  # fmt: skip
    where = path.partition("/update")[0].format(**names)
    found = get(on, where)[1] if "{version}" in path else "{}"
    version = json.loads(found).get("Version", {}).get("Index", 0)
    return path.format(version=version, **names)


def test_whatever_a_user_sends_the_daemon_goes_on(daemon: Host) -> None:
    pid, disk, memory = daemon.pid, disk_bytes(daemon), memory_bytes(daemon.pid)
    (others,) = tasks(daemon, "others")
    told: Counter[int] = Counter()
    ids = {f"{kind.upper()}-ID": get(daemon, f"/{kind}s/fuzzed") for kind in ("secret", "config")}

    def filled(body: Any) -> bytes:
        text = json.dumps(body)
        for name, (_, found) in ids.items():
            text = text.replace(name, json.loads(found)["ID"])
        return text.encode()

    @seed(SEED)
    @settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(ASKED).flatmap(one), min_size=1, max_size=CALLS_A_CASE), LABELS)
    def attack(asked: list[tuple[str, Any]], labels: dict[str, str]) -> None:
        node = {"Role": "manager", "Availability": "active", "Labels": labels}
        change = fill(daemon, "/nodes/{node}/update?version={version}")
        status, text = post(daemon, change, json.dumps(node).encode())
        assert status == 200, text
        assert json.loads(get(daemon, "/nodes")[1])[0]["Spec"]["Labels"] == labels
        for path, body in asked:
            status, text = post(daemon, fill(daemon, path), filled(body))
            told[status] += 1
            assert status < 500 or status in (501, 503) or any(words in text for words in PLAIN), text
        assert daemon.pid == pid
        for path in LISTS:
            assert get(daemon, path)[0] == 200, path

    attack()
    assert told.total() >= CASES, told
    assert told[400], told
    create(daemon, "afterwards", 1)  # correct bodies are accepted as before
    (now,) = tasks(daemon, "others")
    assert (now["ID"], now["Status"]) == (others["ID"], others["Status"])
    made = [name for name in daemon.docker("service", "ls", "--format", "{{.Name}}").stdout.split() if name != "others"]
    daemon.docker("service", "rm", *made)
    eventually(lambda: len(daemon.docker("ps", "-q").stdout.split()) == 1, "only the others' is left", show=daemon.log)
    assert "Traceback" not in daemon.log()
    assert disk_bytes(daemon) - disk < DISK
    assert memory_bytes(daemon.pid) - memory < MEMORY


def one(call: tuple[str, Any]) -> st.SearchStrategy[tuple[str, Any]]:
    path, right = call
    return st.tuples(st.just(path), bent(right))
