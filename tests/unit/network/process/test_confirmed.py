from shoal.network.process.confirmed import Confirmed


def test_a_wanted_state_is_confirmed_once_all_that_was_written_until_then_is() -> None:
    confirmed = Confirmed()
    assert confirmed.up_to("me", 9) == 0
    confirmed.wrote(5, "me", 2)
    confirmed.wrote(7, "me", 2)  # wrote nothing of its own
    confirmed.wrote(8, "me", 3)
    assert [confirmed.up_to("me", told) for told in (1, 2, 2, 3, 3)] == [0, 7, 7, 8, 8]


def test_another_node_in_gossip_has_nothing_to_wait_for() -> None:
    confirmed = Confirmed()
    confirmed.wrote(5, "me", 2)
    confirmed.wrote(6, "another", 1)
    assert confirmed.up_to("another", 0) == 5
    assert confirmed.up_to("another", 1) == 6
