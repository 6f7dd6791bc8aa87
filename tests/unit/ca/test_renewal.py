from random import Random

from hypothesis import given
from hypothesis import strategies as st

from shoal.ca.renewal import backoff, renew_at

DAY = 86400.0


@given(st.integers(0, 10_000), st.floats(3600, 90 * DAY))
def test_renewal_falls_between_half_and_four_fifths_of_the_lifetime(seed: int, lifetime: float) -> None:
    at = renew_at(1000.0, 1000.0 + lifetime, Random(seed)) - 1000.0
    assert 0.5 * lifetime - 60 <= at < 0.8 * lifetime
    assert at % 60 == 0


def test_renewals_of_many_nodes_are_spread() -> None:
    at = {renew_at(0.0, 90 * DAY, Random(seed)) for seed in range(100)}
    assert len(at) > 90


def test_a_certificate_without_a_lifetime_is_renewed_at_once() -> None:
    assert renew_at(100.0, 100.0, Random(1)) == renew_at(100.0, 50.0, Random(1)) == 100.0


def test_failed_renewals_wait_longer_each_time_up_to_an_hour() -> None:
    assert backoff(0, Random(1)) == 0.0
    longest = [max(backoff(failures, Random(seed)) for seed in range(400)) for failures in (1, 2, 3, 4, 30, 10_000)]
    for found, limit in zip(longest, (10, 15, 25, 45, 3600, 3600), strict=True):
        assert 0.9 * limit < found <= limit
