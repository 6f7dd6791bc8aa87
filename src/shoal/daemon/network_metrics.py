"""The metrics of this node's network process: which there are, and their text from what the process has counted. Pure.

In: the counts (`network/process/counts.py`). Out: lines of Prometheus's text format. docs/operations.md lists them; a
test compares. Labels are words of ours alone: neither networks, nor services, nor containers are among them, so that no
user of the swarm can make them many.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["gauge", "counter"]
PREFIX = "shoal_network_"
UP = f"{PREFIX}process_up"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `key` is its name among the counts; `label` that of an object's keys, empty for a number."""

    name: str
    kind: Kind
    help: str
    key: str
    label: str = ""


def _gauge(name: str, text: str, key: str, label: str = "") -> Metric:
    return Metric(PREFIX + name, "gauge", text, key, label)


def _counter(name: str, text: str, key: str, label: str = "") -> Metric:
    return Metric(f"{PREFIX}{name}_total", "counter", text, key, label)


METRICS = (
    _gauge("overlays", "Overlay networks that this node takes part in", "overlays"),
    _gauge("sandboxes", "Containers on overlay networks", "sandboxes"),
    _gauge("endpoints", "Interfaces of containers on overlay networks", "endpoints"),
    _gauge("troubles", "What could not be made in the kernel and is still missing", "troubles"),
    _gauge("gossip_nodes", "Nodes that gossip knows of, this one included", "gossip_nodes", "state"),
    _gauge("gossip_health_score", "How far behind this node thinks it is itself, from 0 (well) to 8", "gossip_score"),
    _gauge("gossip_queue", "Messages about nodes that wait to be sent along", "gossip_broadcasts"),
    _counter("gossip_events", "What was believed of nodes, or of this one", "gossip_events", "event"),
    _counter("gossip_received_packets", "Datagrams received", "gossip_received"),
    _counter("gossip_received_bytes", "Bytes of datagrams received", "gossip_received_bytes"),
    _counter("gossip_refused_packets", "Datagrams without a key of ours, or beyond a limit", "gossip_refused"),
    _counter("gossip_sent_packets", "Datagrams sent", "gossip_sent"),
    _counter("gossip_sent_bytes", "Bytes of datagrams sent", "gossip_sent_bytes"),
    _counter("gossip_lost_packets", "Datagrams that the kernel did not take", "gossip_lost"),
    _counter("gossip_accepted_streams", "TCP connections of other nodes", "gossip_accepted"),
    _counter("gossip_opened_streams", "TCP connections to other nodes", "gossip_opened"),
    _gauge("table_networks", "Networks whose tables this node has", "tables_networks"),
    _gauge("table_nodes", "Other nodes that are here, as the tables have it", "tables_nodes"),
    _gauge("table_failed_nodes", "Other nodes that are silent and have not left", "tables_failed"),
    _gauge("table_attachments", "Pairs of a node and a network that it is on", "tables_attachments"),
    _gauge("table_entries", "Entries of all tables, deleted ones that are still remembered included", "tables_entries"),
    _gauge("table_tombstones", "Deleted entries that are still remembered", "tables_tombstones"),
    _gauge("table_bytes", "Memory that the entries take, roughly", "tables_bytes"),
    _gauge("table_queue_own", "Own entries that wait to be sent", "tables_queued_own"),
    _gauge("table_queue_relayed", "Others' entries that wait to be passed on", "tables_queued_relayed"),
    _gauge("table_unconfirmed", "Own entries that not all nodes on their networks have confirmed yet", "tables_told"),
    _gauge("table_queue_nodes", "Words about nodes and their networks that wait to be sent", "tables_broadcasts"),
    _gauge("table_backlog_bytes", "What other nodes have sent and is not taken in yet", "tables_backlog_bytes"),
    _counter(
        "table_events", "What others said and was refused, or said wrongly and was put right", "tables_events", "event"
    ),
    _counter("dns_questions", "DNS questions of containers", "names_questions"),
    _counter("dns_answered", "Of those: answered from the swarm's names", "names_answered"),
    _counter("dns_forwarded", "Of those: asked outside", "names_outside"),
    _counter("dns_failed", "Of those asked outside: nobody had an answer", "names_failed"),
    _counter("dns_refused", "Refused: too many questions outside, or connections, of one container", "names_refused"),
    _counter("dns_invalid", "Messages that were no question", "names_invalid"),
    _counter("dns_paused", "Times that a container had asked so much that it had to wait", "names_paused"),
    _counter("dns_dropped_replies", "Replies that the container did not take", "names_lost"),
    _gauge("dns_waiting", "Questions that are asked outside now", "names_waiting"),
    _counter("dns_seconds", "Time spent on questions by UDP, without the wait for others", "names_seconds"),
    _counter("dns_forwarded_seconds", "Time until those asked outside had an answer, in all", "names_outside_seconds"),
    _counter("kernel_applies", "Times that overlays or virtual IPs were made as wanted", "kernel_applied"),
    _counter("kernel_seconds", "Time that this took", "kernel_seconds"),
    _counter("kernel_steps", "Steps of it: devices, interfaces, sets of neighbours", "kernel_steps"),
    _counter("kernel_repairs", "Of those: because the kernel was not as it was made", "kernel_repaired"),
    _counter("kernel_failures", "What could not be made, each time that it was tried", "kernel_failed"),
    _counter("rule_updates", "Transactions of nftables", "kernel_rules"),
)


def lines(counts: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the text. None: there is no network process, or it does not answer."""
    yield from metric(UP, "gauge", "Whether this node's network process answers", [({}, int(counts is not None))])
    for each in METRICS if counts is not None else ():
        value = (counts or {}).get(each.key)
        if isinstance(value, dict) and each.label:
            yield from metric(each.name, each.kind, each.help, [({each.label: key}, value[key]) for key in value])
        elif isinstance(value, int | float):
            yield from metric(each.name, each.kind, each.help, [({}, value)])


def metric(name: str, kind: Kind, text: str, values: Iterable[tuple[dict[str, str], float]]) -> Iterator[str]:
    """Yield the lines of one metric."""
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in values:
        inside = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
        yield f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
