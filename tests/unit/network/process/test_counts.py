from random import Random

from shoal.network.gossip.delegate import State
from shoal.network.networkdb.networkdb import NetworkDB
from shoal.network.process.counts import Gossiped, counts
from shoal.network.wanted import Endpoint, Overlay, Sandbox, Wanted
from tests.unit.network.networkdb.wires import database

WANTED = Wanted(
    1,
    overlays=(Overlay("n", "blue", ()), Overlay("m", "red", ())),
    sandboxes=(
        Sandbox("c", "web.1", "/n", (Endpoint("e", "n", "10.0.1.3/24", "02:42", "eth0"),)),
        Sandbox("d", "web.2", "/m"),
    ),
)


def tables() -> NetworkDB:
    db, _ = database("a")
    db.heard(b"\xff", 1.0)
    return db


def test_parts_counts_have_their_prefix_and_what_was_refused_its_words() -> None:
    found = counts(WANTED, 3, None, tables().statistics(), {"questions": 5}, {"steps": 6})
    assert (found["overlays"], found["sandboxes"], found["endpoints"], found["troubles"]) == (2, 2, 1, 3)
    assert (found["names_questions"], found["kernel_steps"], found["tables_nodes"]) == (5, 6, 1)
    assert found["tables_events"] == {"messages_that_are_none": 1}
    assert not [key for key in found if key.startswith("gossip")]
    assert "tables_counts" not in found


def test_gossip_counts_members_by_state_and_all_events_by_name() -> None:
    gossiped = Gossiped((State.ALIVE, State.DEAD), {"dead": 1, "of no interest": 5}, 2, 0, {"sent": 8})
    statistics = NetworkDB("me", Silent(), Random(1), 0.0).statistics()
    found = counts(WANTED, 0, gossiped, statistics, {}, {})
    assert found["gossip_nodes"] == {"alive": 1, "suspect": 0, "dead": 1, "left": 0}
    assert found["gossip_events"] == {"suspected": 0, "dead": 1, "left": 0, "refuted": 0}
    assert (found["gossip_score"], found["gossip_sent"]) == (2, 8)


class Silent:
    """A gossip that is never used."""

    def send(self, name: str, message: bytes, reliable: bool) -> None:
        raise AssertionError

    def tell(self, name: str, message: bytes, number: int) -> None:
        raise AssertionError

    def join(self, contacts: object) -> None:
        raise AssertionError
