"""What a daemon in no swarm imports before its first answer: imports were nine tenths of the CPU that this took."""

import subprocess
import sys

# What a node of a swarm needs, and libraries that one place uses: imported there.
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
LOOK = """
import sys
from shoal.daemon import daemon, loading, main
print(*sys.modules)
from shoal.node import door
door._node_class()
print(*sys.modules)
"""


def test_daemon_begins_without_what_only_a_swarm_needs() -> None:
    look = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    first, later = (set(line.split()) for line in look.stdout.splitlines())
    assert {"shoal.daemon.daemon", "shoal.engine.app", "shoal.runtime.containers"} <= first
    assert sorted(first.intersection(LATER)) == []
    # A name that is no more would pass above.
    assert {name for name in LATER if name.startswith("shoal.")} <= later
