"""Decides when a node renews its certificate. Pure. Source: SwarmKit ca/renewer.go, ca/certificates.go."""

from random import Random

EARLIEST = 0.5  # part of the certificate's whole lifetime
LATEST = 0.8
UNREADABLE_RETRY = 300.0
BACKOFF_BASE = 5.0
BACKOFF_FACTOR = 5.0
BACKOFF_CAP = 3600.0
FORCED_DELAY = 0.5  # seconds; several reasons within this time cause one renewal
_MINUTE = 60.0


def renew_at(not_before_at: float, not_after_at: float, rng: Random) -> float:
    """Return the instant of renewal: a random whole minute after 50 % and before 80 % of the lifetime.

    It is random so that nodes that joined together do not renew together. An instant in the past means now.
    """
    lifetime = max(0.0, not_after_at - not_before_at) / _MINUTE
    first, last = int(lifetime * EARLIEST), int(lifetime * LATEST)
    return not_before_at + _MINUTE * (rng.randrange(first, last) if last > first else first)


def backoff(failures: int, rng: Random) -> float:
    """Return the seconds to wait after `failures` failed renewals in a row: random, up to 10, 15, 25, 45 ... 3600 s."""
    if failures < 1:
        return 0.0
    return rng.uniform(0.0, min(BACKOFF_CAP, BACKOFF_BASE + BACKOFF_FACTOR * 2.0 ** min(failures - 1, 32)))
