"""What a daemon in no swarm imports before its first answer. Imports were nine tenths of the CPU of a start."""

import subprocess
import sys

# Modules that a node of a swarm needs, and libraries that only one place uses. They are imported when they are needed.
LATER = (
    "shoal.agent.agent",
    "shoal.ca",
    "shoal.manager",
    "shoal.node.node",
    "shoal.store.store",
    "cryptography",
    "grpclib.client",
    "grpclib.server",
    "h2",
    "re2",
    "rich",
    "sqlite3",
    "typer",
    "yaml",
)
# Modules that the host's side of a start does not need. They are imported after it.
BESIDE = ("shoal.agent", "shoal.api.v1", "shoal.engine", "shoal.node", "aiohttp", "google.protobuf")
LOOK = """
import sys
from shoal.daemon import daemon, main
print(*sys.modules)
daemon._import_serving()
print(*sys.modules)
from shoal.node import door
door._node_class()
print(*sys.modules)
"""


def test_daemon_begins_without_what_only_a_swarm_needs() -> None:
    look = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    host, first, later = (set(line.split()) for line in look.stdout.splitlines())
    assert {"shoal.network.bridge", "shoal.runtime.containers"} <= host
    assert sorted(host.intersection(BESIDE)) == []
    assert {"shoal.engine.app", *BESIDE} <= first
    assert sorted(first.intersection(LATER)) == []
    # A name that does not exist any more would pass the check above.
    assert {name for name in LATER if name.startswith("shoal.")} <= later


def test_no_dataclass_that_a_daemon_imports_lacks_a_docstring() -> None:
    """Without a docstring Python makes one from the signature, which takes as long as the rest of the class."""
    look = """
import dataclasses
made = []
make = dataclasses._process_class
dataclasses._process_class = lambda cls, *given: made.append((bool(cls.__doc__), cls)) or make(cls, *given)
from shoal.daemon import daemon, main
daemon._import_serving()
print(len(made), [cls.__qualname__ for documented, cls in made if not documented and "shoal" in cls.__module__])
"""
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    count, _, bare = done.stdout.partition(" ")
    assert int(count) > 50
    assert bare == "[]\n"
