"""Which of the groups that found no node are tried again."""

from typing import Any

from shoal.manager.scheduler.demand import Demand, Standing
from shoal.manager.scheduler.nodeinfo import Held, NodeInfo
from shoal.manager.scheduler.waiting import Key, Waiting
from tests.unit.manager.builders import node

CPU, MEMORY = Demand(nano_cpus=1), Demand(memory_bytes=1)
PORT, LIMITED, SSD = Demand(ports=((0, 80),)), Demand(max_replicas=1), Demand(Standing(("node.labels.disk==ssd",)))


def key(service_id: str) -> Key:
    return Key(service_id, 1, "")


class Rig:
    """Groups that wait, and the reasons against each node."""

    def __init__(self, **demands: Demand) -> None:
        self.against: dict[tuple[str, str], str] = {}
        self.judged: list[tuple[str, str]] = []
        self.infos = {name: NodeInfo(node(name), {}) for name in "ab"}
        self.waiting = Waiting(self._judge)
        for service_id, demand in demands.items():
            self.waiting.put(key(service_id), demand)

    def give_back(self, **parts: Any) -> list[str]:
        held = Held("other", "a", True, 0, 0, (), ())._replace(**parts)
        self.waiting.gives_back(held, self.infos["a"])
        return self.changed()

    def changed(self) -> list[str]:
        return [one.service_id for one in self.waiting.changed()]

    def worth(self, service_id: str) -> bool:
        return self.waiting.is_worth_a_look(key(service_id), self.infos)

    def _judge(self, service_id: str, demand: Demand, info: NodeInfo) -> str:
        self.judged.append((service_id, info.id))
        return self.against.get((service_id, info.id), "ready")


def test_the_end_of_a_task_concerns_those_who_ask_for_what_it_had() -> None:
    asking = {"cpu": CPU, "memory": MEMORY, "port": PORT, "limited": LIMITED, "ssd": SSD, "nothing": Demand()}
    assert Rig(**asking).give_back() == []
    assert Rig(**asking).give_back(nano_cpus=1) == ["cpu", "memory"]
    assert Rig(**asking).give_back(ports=((0, 80),)) == ["port"]
    assert Rig(**asking).give_back(ports=((0, 81),)) == []
    assert Rig(**asking).give_back(service_id="limited") == ["limited"]
    assert Rig(**asking).give_back(service_id="limited", is_active=False) == []


def test_a_change_counts_once_something_else_is_held_against_a_node() -> None:
    rig = Rig(cpu=CPU, memory=MEMORY)
    rig.waiting.node_changed("a", rig.infos["a"])
    rig.against["cpu", "a"] = "resources"
    assert rig.worth("cpu")
    assert not rig.worth("memory")
    assert rig.changed() == []
    assert not rig.worth("cpu")


def test_what_was_before_the_first_of_several_changes_counts() -> None:
    rig = Rig(cpu=CPU)
    rig.waiting.node_changed("a", rig.infos["a"])
    rig.against["cpu", "a"] = ""
    rig.waiting.node_changed("a", rig.infos["a"])
    rig.against["cpu", "a"] = "ready"
    assert not rig.worth("cpu")


def test_nodes_that_come_and_go_count() -> None:
    rig = Rig(cpu=CPU)
    rig.waiting.node_changed("a", None)
    assert rig.worth("cpu")
    rig.waiting.node_changed("gone", rig.infos["a"])
    assert rig.worth("cpu")
    rig.waiting.node_changed("gone", None)
    assert not rig.worth("cpu")


def test_one_end_of_a_task_costs_one_judgement_for_each_group_concerned() -> None:
    rig = Rig(**{f"ssd{number}": SSD for number in range(100)}, cpu=CPU)
    rig.give_back(nano_cpus=1)
    assert rig.judged == [("cpu", "a")]


def test_what_is_dropped_or_looked_at_is_not_changed_any_more() -> None:
    rig = Rig(cpu=CPU, port=PORT)
    rig.waiting.node_changed("a", None)
    rig.waiting.drop(key("cpu"))
    rig.waiting.put(key("port"), PORT)
    assert rig.changed() == []
    rig.waiting.drop(key("port"))
    rig.waiting.drop(key("never"))
    assert rig.give_back(nano_cpus=1, ports=((0, 80),)) == []
