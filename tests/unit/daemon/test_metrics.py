"""What a scraper gets: names that the documents list, all of them, and values that were counted."""

import re
from pathlib import Path

from shoal.api import v1 as api
from shoal.daemon import metrics, network_metrics
from shoal.network.connections import Table
from shoal.network.wanted import Wanted
from tests.unit.engine.fakes import FakeNode, FakeOverlays, backend, manager_node

DOCUMENT = Path(__file__).parents[3] / "docs" / "operations.md"


def documented() -> dict[str, str]:
    """Return the metrics that the document lists, with their kinds."""
    section = DOCUMENT.read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    found = {}
    for line in section.splitlines():
        if match := re.match(r"\| `((?:engine|swarm|shoal)_\w+)` \|", line):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found[match[1]] = cells[2] if len(cells) == 4 else "gauge"
    return found


async def test_each_metric_is_documented_and_each_documented_one_is_there() -> None:
    counted = {each.key: {"x": 1} if each.label else 1 for each in network_metrics.METRICS}
    overlays = FakeOverlays(wanted=Wanted(1), counted=counted)
    made = backend(node=manager_node()[0], overlays=overlays)
    made.connections.look(Table(7, 10, 3), 0.0)
    text = await metrics.render(made)
    assert "shoal_host_connections_lost_total 3" in text.splitlines()
    assert dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)) == documented()


async def test_a_manager_counts_the_swarms_objects_and_any_node_its_own() -> None:
    node = api.Node(id="n", status=api.NodeStatus(state=api.NodeStatus.READY))
    task = api.Task(id="t", status=api.TaskStatus(state=api.TaskState.RUNNING))
    text = await metrics.render(backend(node=manager_node(node, task, api.Service(id="s"))[0]))
    for line in (
        "swarm_node_manager 1",
        'swarm_manager_nodes{state="ready"} 1',
        'swarm_manager_tasks_total{state="running"} 1',
        "swarm_manager_services_total 1",
        "shoal_network_process_up 0",
    ):
        assert line in text.splitlines()
    alone = (await metrics.render(backend(node=FakeNode()))).splitlines()
    assert "swarm_node_manager 0" in alone
    assert not [line for line in alone if line.startswith("swarm_manager")]


async def test_a_process_that_cannot_be_asked_is_down() -> None:
    text = await metrics.render(backend(overlays=FakeOverlays(wanted=Wanted(1))))
    assert "shoal_network_process_up 0" in text.splitlines()
    assert "shoal_network_overlays" not in text
