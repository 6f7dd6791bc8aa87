"""Whatever others say, in any order: nothing raises, what is kept is bounded, and own entries stay."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.api.gen import networkdb_pb2 as pb
from shoal.network.networkdb import messages
from tests.unit.network.networkdb.wires import NET, SELF, TABLE, Peer, database

NAMES = st.sampled_from([SELF, "a", "b", "stranger", "", "x/y", "long" * 100])
NETWORKS = st.sampled_from([NET, "other", "", "x/y"])
KEYS = st.sampled_from(["own", "k1", "k2", "", "/"])
TIMES = st.one_of(st.integers(0, 60), st.sampled_from([2**24, 2**45, 2**45 + 2**24, 2**63 - 1, 2**63, 2**64 - 1]))
KINDS = st.integers(0, 4)
RESIDUALS = st.sampled_from([0, 1, 7, 1800, -1, 2**31 - 1, -(2**31)])

table_events = st.builds(
    lambda *fields: messages.table_event(*fields),
    KINDS, TIMES, NAMES, NETWORKS, st.just(TABLE), KEYS, st.binary(max_size=8), RESIDUALS,
)  # fmt: skip
events = st.one_of(
    table_events,
    st.builds(lambda *fields: messages.network_event(*fields), KINDS, TIMES, NAMES, NETWORKS),
    st.builds(lambda *fields: messages.node_event(*fields), KINDS, TIMES, NAMES),
    st.binary(max_size=40),
    st.builds(messages.wrap, st.integers(0, 9), st.binary(max_size=30)),
)
compounds = st.builds(messages.compound, st.lists(events, max_size=5))
syncs = st.builds(
    messages.bulk_sync, TIMES, st.booleans(), NAMES, st.lists(NETWORKS, max_size=3), st.one_of(compounds, events)
)
heard = st.one_of(events, compounds, syncs, st.builds(lambda inner: messages.compound([inner]), compounds))


@st.composite
def states(draw: st.DrawFn) -> bytes:
    state = pb.NetworkPushPull(l_time=draw(TIMES), node_name=draw(NAMES))
    for _ in range(draw(st.integers(0, 3))):
        state.networks.add(
            node_name=draw(NAMES), l_time=draw(TIMES), network_id=draw(NETWORKS), leaving=draw(st.booleans())
        )
    return messages.wrap(pb.GossipMessage.PUSH_PULL, state.SerializeToString())


happenings = st.one_of(
    st.tuples(st.just("heard"), heard),
    st.tuples(st.just("state"), st.one_of(states(), st.binary(max_size=30))),
    st.tuples(st.sampled_from(["joined", "failed", "left", "updated"]), st.sampled_from(["a", "b", "c", SELF])),
    st.tuples(st.just("time"), st.sampled_from([0.0, 0.2, 5.0, 40.0, 1000.0, 90_000.0])),
    st.tuples(st.sampled_from(["leave_network", "join_network", "push"]), st.none()),
)


class Story:
    def __init__(self) -> None:
        self.db, self.wire = database("a", "b")
        self.view: dict[tuple[str, str], bytes] = {}
        self.now = 0.0
        self.db.put(TABLE, NET, "own", b"mine", 0.0)
        self.check()

    def happen(self, what: str, how: object) -> None:
        db = self.db
        if isinstance(how, bytes):
            if what == "heard":
                db.heard(how, self.now)
            else:
                db.merge_state(how, True, self.now)
        elif isinstance(how, float):
            self.now += how
            self.come_to_rest()
        elif isinstance(how, str):
            getattr(db, f"member_{what}")(Peer(how, how), self.now)
        elif what == "push":
            assert messages.read_push_pull(db.local_state(True, self.now)) is not None
            for message in db.broadcasts(3, 1369, self.now):
                assert messages.unwrap(message) is not None
        else:
            getattr(db, what)(NET, self.now)

    def come_to_rest(self) -> None:
        for _ in range(50):
            self.db.tick(self.now)
            if self.db.next_tick() > self.now:
                return
        raise AssertionError("there is always something to do")

    def check(self) -> None:
        for change in self.db.take_changes():
            assert self.view.pop((change.network, change.key), None) == change.former
            if change.value is not None:
                self.view[change.network, change.key] = change.value
        statistics = self.db.statistics()
        assert statistics.entries <= 10
        assert statistics.attachments <= 20
        for name, message, reliable in self.wire.sent:
            assert name != SELF
            assert reliable or len(message) <= 1400
        self.wire.sent.clear()


@settings(max_examples=150, deadline=None)
@given(st.lists(happenings, max_size=40))
def test_nothing_that_others_say_raises_and_own_entries_stay(happened: list[tuple[str, object]]) -> None:
    story = Story()
    for what, how in happened:
        story.happen(what, how)
        story.check()
    left = any(what == "leave_network" for what, _ in happened)
    assert left or story.view[NET, "own"] == b"mine"


def test_a_flood_of_distinct_forgeries_is_bounded() -> None:
    """A peer with the key invents nodes, networks, keys and values as fast as it can."""
    db, _ = database("a", "b")
    rng = random.Random(1)
    for number in range(30_000):
        kind = number % 4
        if kind == 0:
            db.heard(messages.network_event(1, 5 + number, "a", f"n{number}"), 1.0)  # type: ignore[arg-type]
        elif kind == 1:
            db.heard(messages.node_event(1, 5 + number, f"forged{number}"), 1.0)  # type: ignore[arg-type]
        elif kind == 2:
            value = rng.randbytes(3000)
            db.heard(messages.table_event(messages.CREATE, 5 + number, "a", NET, TABLE, f"k{number}", value), 1.0)
        else:
            db.heard(messages.table_event(messages.CREATE, 5 + number, f"f{number}", NET, TABLE, "k", b""), 1.0)
    statistics = db.statistics()
    assert statistics.attachments <= 1024 + 3
    assert statistics.bytes <= 64 * 1024 * 1024
    assert statistics.queued_relayed <= 2 * 4096
    assert statistics.counts["attachments beyond the limit"] > 0
