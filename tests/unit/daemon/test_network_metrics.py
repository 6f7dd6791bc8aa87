"""The metrics of the network process: each has a count behind it, and each count a metric."""

from dataclasses import asdict
from random import Random

from shoal.daemon.network_metrics import METRICS, UP, lines
from shoal.network.gossip.delegate import State
from shoal.network.gossip.server import Traffic
from shoal.network.names.server import Counts as Names
from shoal.network.networkdb.networkdb import NetworkDB
from shoal.network.process.counts import Gossiped, counts
from shoal.network.process.kernel import Counts as Kernel
from shoal.network.wanted import Wanted


class Nobody:
    """A gossip without others."""

    def send(self, name: str, message: bytes, reliable: bool) -> None:
        raise AssertionError

    def tell(self, name: str, message: bytes, number: int) -> None:
        raise AssertionError

    def join(self, contacts: object) -> None:
        raise AssertionError


def counted() -> dict[str, object]:
    tables = NetworkDB("me", Nobody(), Random(1), 0.0).statistics()
    tables.counts["messages that are none"] = 3
    gossiped = Gossiped((State.ALIVE, State.ALIVE, State.SUSPECT), {"refuted": 2}, 1, 4, asdict(Traffic(received=9)))
    names = {**asdict(Names(questions=7, seconds=0.25)), "waiting": 5}
    return dict(counts(Wanted(1), 2, gossiped, tables, names, asdict(Kernel(rules=6))))


def test_each_count_has_a_metric_and_each_metric_a_count() -> None:
    assert {metric.key for metric in METRICS} == counted().keys()
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert isinstance(counted()[metric.key], dict) == bool(metric.label), metric.name
        assert metric.name.endswith("_total") == (metric.kind == "counter")


def test_counts_become_lines_with_their_kinds_and_labels() -> None:
    text = list(lines(counted()))
    assert f"{UP} 1" in text
    assert "# TYPE shoal_network_dns_questions_total counter" in text
    assert "shoal_network_dns_questions_total 7" in text
    assert "shoal_network_dns_seconds_total 0.25" in text
    assert "# TYPE shoal_network_gossip_nodes gauge" in text
    assert 'shoal_network_gossip_nodes{state="alive"} 2' in text
    assert 'shoal_network_gossip_nodes{state="left"} 0' in text
    assert 'shoal_network_gossip_events_total{event="refuted"} 2' in text
    assert 'shoal_network_table_events_total{event="messages_that_are_none"} 3' in text
    assert "shoal_network_rule_updates_total 6" in text


def test_without_a_process_or_without_gossip_what_is_unknown_is_left_out() -> None:
    assert list(lines(None))[2:] == [f"{UP} 0"]
    some = {key: value for key, value in counted().items() if not key.startswith("gossip")}
    assert not [line for line in lines(some) if "gossip_sent" in line]
    assert "shoal_network_dns_questions_total 7" in list(lines(some))
