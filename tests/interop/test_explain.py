"""`shoal task explain` with a real daemon: a task without a node, and the same task once it has one."""

import json
import subprocess
import sys
from typing import Any

from tests.harness.hosts import REPOSITORY, Host, eventually
from tests.interop.services import create_detached, running


def explained(host: Host, task_id: str) -> Any:
    command = (sys.executable, "-m", "shoal.cli.main", "-H", f"unix://{host.socket}", "task", "explain")
    done = subprocess.run(
        (*command, "--format", "json", task_id), cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_a_waiting_task_says_what_it_lacks_and_a_placed_one_why_it_is_there(swarm: Host) -> None:
    create_detached(swarm, "web", "--constraint", "node.labels.disk==ssd", "--reserve-cpu", "0.25")
    (task_id,) = swarm.docker("service", "ps", "-q", "--no-trunc", "web").stdout.split()
    no_node = "no suitable node (scheduling constraints not satisfied on 1 node)"
    eventually(lambda: no_node in swarm.docker("service", "ps", "--no-trunc", "web").stdout, "it says why it waits")
    found = explained(swarm, task_id[:12])
    assert (found["TaskID"], found["State"], found["Message"]) == (task_id, "pending", no_node)
    (node,) = found["Nodes"]
    assert node["Reasons"] == ['scheduling constraints not satisfied: node.labels.disk==ssd, but it is ""']

    swarm.docker("node", "update", "--label-add", "disk=ssd", node["NodeID"])
    eventually(lambda: running(swarm, "web"), "it runs")
    found = explained(swarm, task_id)
    assert (found["State"], found["Considered"], found["Suitable"]) == ("running", 1, 1)
    (node,) = found["Nodes"]
    assert (node["NodeID"], node["Chosen"], node["Reasons"]) == (found["NodeID"], True, [])
