from shoal.api import v1 as api
from shoal.manager.allocator.networks import Networks
from shoal.manager.allocator.nodes import Nodes
from shoal.manager.allocator.waiting import Lacking, address
from tests.unit.manager.allocator.objects import network


class Case:
    def __init__(self) -> None:
        self.networks = Networks()
        self.objects = {}
        for asked in (network("ingress", ingress=True), network("blue", "10.1.0.0/30")):
            made = self.networks.allocate(asked)
            assert isinstance(made, api.Network)
            self.objects[made.id] = made
        self.nodes = Nodes(self.networks)
        self.nodes.ingress_id = "ingress"

    def give(self, node: api.Node) -> tuple[api.Node, list[Lacking]]:
        changed, lacking = self.nodes.allocate(node, self.objects.get)
        return changed or node, [each for _, each in lacking]


def shown(node: api.Node) -> dict[str, list[str]]:
    return {each.network.id: list(each.addresses) for each in node.attachments}


def test_every_node_has_an_address_on_ingress() -> None:
    case = Case()
    node, lacking = case.give(api.Node(id="n1"))
    assert not lacking
    assert shown(node) == {"ingress": ["10.0.0.2/24"]}
    assert node.attachment == node.attachments[0]
    assert case.nodes.allocate(node, case.objects.get) == (None, [])


def test_an_overlay_is_a_nodes_from_its_first_task_to_its_last() -> None:
    case = Case()
    node, _ = case.give(api.Node(id="n1"))
    assert case.nodes.use("n1", ["ingress", "blue"])
    node, _ = case.give(node)
    assert shown(node) == {"ingress": ["10.0.0.2/24"], "blue": ["10.1.0.2/30"]}
    assert not case.nodes.use("n1", ["blue"])
    assert not case.nodes.leave("n1", ["ingress", "blue"])
    assert case.nodes.leave("n1", ["blue"])
    node, _ = case.give(node)
    assert shown(node) == {"ingress": ["10.0.0.2/24"]}
    assert address("blue", 32) in case.networks.freed


def test_a_node_takes_what_there_is_and_says_what_it_lacks() -> None:
    case = Case()
    case.networks.take("blue")
    case.nodes.use("n1", ["blue"])
    node, lacking = case.give(api.Node(id="n1"))
    assert shown(node) == {"ingress": ["10.0.0.2/24"]}
    assert [each.reason for each in lacking] == ["network blue has no free address"]


def test_a_removed_network_is_taken_off_the_node() -> None:
    case = Case()
    node, _ = case.give(api.Node(id="n1"))
    assert case.nodes.on("ingress") == ["n1"]
    case.networks.drop("ingress")
    case.nodes.ingress_id = ""
    node, _ = case.give(node)
    assert not node.attachments
    assert not node.HasField("attachment")


def test_a_removed_node_gives_all_back_and_a_restored_one_keeps_it() -> None:
    case = Case()
    node, _ = case.give(api.Node(id="n1"))
    case.nodes.drop("n1")
    assert "n1" not in case.nodes
    assert case.nodes.restore(node) == []
    assert case.nodes.restore(node) == []
    assert len(case.nodes) == 1
    other = api.Node(id="n2", attachments=node.attachments)
    assert case.nodes.restore(other) == ["node n2: another has its address 10.0.0.2/24"]
