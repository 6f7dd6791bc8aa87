from shoal.network.networkdb.clock import CEILING, FURTHEST, LEAP, LEAP_EVERY, Clock


def test_a_time_that_is_not_behind_puts_the_clock_after_it() -> None:
    clock = Clock()
    assert clock.increment() == 1
    assert clock.witness(1, 0.0)
    assert clock.time == 2
    assert clock.witness(300, 0.0)
    assert clock.time == 301
    assert clock.witness(7, 0.0)
    assert clock.increment() == 302


def test_a_new_node_takes_the_time_of_an_old_swarm() -> None:
    clock = Clock()
    assert clock.witness(FURTHEST, 0.0)
    assert clock.witness(FURTHEST + LEAP, 0.0)


def test_a_second_leap_has_to_wait() -> None:
    clock = Clock()
    assert clock.witness(LEAP + 1, 0.0)
    assert not clock.witness(10 * LEAP, LEAP_EVERY - 1)
    assert clock.time == LEAP + 2
    assert clock.witness(10 * LEAP, LEAP_EVERY)


def test_times_near_the_end_are_refused_for_ever() -> None:
    clock = Clock()
    for time in (2**64 - 1, 2**64 - 2, CEILING, CEILING - 1, FURTHEST + 1):
        assert not clock.witness(time, 1000.0)
    assert clock.time == 0


def test_half_a_year_of_leaps_is_needed_to_get_near_the_end() -> None:
    clock = Clock()
    now = 0.0
    for _ in range(1000):
        now += LEAP_EVERY
        assert clock.witness(clock.time + FURTHEST, now)
    assert clock.time < CEILING / 200
    assert CEILING / FURTHEST * LEAP_EVERY > 180 * 86400
