"""Rules and routes of the mesh."""

from ipaddress import IPv4Network

from shoal.network.mesh.routing import ours, wanted_routes, wanted_rules
from shoal.network.mesh.state import BACKEND
from shoal.network.policy import MAIN, Rule, TableRoute
from tests.unit.network.mesh.meshes import MESH, OTHER


def test_unmarked_packets_pass_one_rule_more_whatever_the_number_of_nodes() -> None:
    early = [rule for rule in wanted_rules(MESH) if rule.priority < 32766]
    assert early == [Rule(100, 0x5A000000, 0xFF000000, goto=40000)]


def test_answers_go_back_by_the_node_that_the_connection_came_by() -> None:
    assert Rule(40001, 0x5A000003, 0xFFFFFFFF, table=0x5A000003) in wanted_rules(MESH)
    assert wanted_routes(MESH, 7) == {
        TableRoute(BACKEND, IPv4Network("10.0.0.0/24"), 7),
        TableRoute(0x5A000003, IPv4Network("0.0.0.0/0"), 7, OTHER),
    }


def test_rules_of_others_are_left() -> None:
    others = [Rule(0, table=255), Rule(32766, table=MAIN), Rule(100, 1, 0xFF, table=5), Rule(40001, 7, 0xFF, table=9)]
    assert ours([*others, *wanted_rules(MESH)]) == wanted_rules(MESH)
