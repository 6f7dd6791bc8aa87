"""What the delegate is told in."""

from shoal.network.gossip.delegate import Delegate, State
from tests.simulation.airwaves import Listening


def test_states_have_the_numbers_of_the_wire() -> None:
    assert [(state.name, int(state)) for state in State] == [("ALIVE", 0), ("SUSPECT", 1), ("DEAD", 2), ("LEFT", 3)]


def test_the_simulations_delegate_is_one() -> None:
    delegate: Delegate = Listening()
    assert delegate.broadcasts(3, 100, 0.0) == []
