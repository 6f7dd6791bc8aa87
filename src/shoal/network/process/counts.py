"""What the network process counts, as JSON for `shoald` to hand to Prometheus. Pure.

In: the counts of its parts. Out: one object; a value is a number, or an object of numbers by one label. The labels are
words of ours: nothing that a container, a task or another node says is among them. `daemon/network_metrics.py` gives
each a name.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from shoal.network.gossip.delegate import State
from shoal.network.networkdb.networkdb import Statistics
from shoal.network.wanted import Wanted

EVENTS = ("suspected", "dead", "left", "refuted")

Value = int | float | dict[str, int | float]


@dataclass(frozen=True, slots=True)
class Gossiped:
    """What gossip counts. `states` are those of the members that are known, this node's among them."""

    states: tuple[State, ...]
    events: Mapping[str, int]  # suspected, dead, left, refuted
    score: int
    broadcasts: int  # of memberlist, waiting
    traffic: Mapping[str, int]


def counts(
    wanted: Wanted,
    troubles: int,
    gossiped: Gossiped | None,
    tables: Statistics,
    names: Mapping[str, int | float],
    kernel: Mapping[str, int | float],
) -> dict[str, Value]:
    """Return all counts by their names. Without gossip its own are missing."""
    found: dict[str, Value] = {
        "overlays": len(wanted.overlays),
        "sandboxes": len(wanted.sandboxes),
        "endpoints": sum(len(sandbox.endpoints) for sandbox in wanted.sandboxes),
        "troubles": troubles,
    }
    found |= _prefixed("tables", {key: value for key, value in asdict(tables).items() if key != "counts"})
    found["tables_events"] = {name.replace(" ", "_"): count for name, count in sorted(tables.counts.items())}
    found |= _prefixed("names", names)
    found |= _prefixed("kernel", kernel)
    if gossiped is not None:
        states = Counter(gossiped.states)
        found["gossip_nodes"] = {state.name.lower(): states[state] for state in State}
        found["gossip_events"] = {name: gossiped.events.get(name, 0) for name in EVENTS}
        found["gossip_score"] = gossiped.score
        found["gossip_broadcasts"] = gossiped.broadcasts
        found |= _prefixed("gossip", gossiped.traffic)
    return found


def _prefixed(prefix: str, values: Mapping[str, int | float]) -> dict[str, Value]:
    return {f"{prefix}_{key}": value for key, value in values.items()}
