"""Which manager to ask next, and how long to wait before that. Pure.

In: the managers that the last session named, how calls to them ended, and random numbers; out: an address. Source of
the numbers: SwarmKit remotes/remotes.go, agent/agent.go.
"""

from collections.abc import Callable, Iterable, Mapping

WEIGHT_MAX = 256
OBSERVED = 10  # the weight that one good call aims at; a bad one aims at -10
SMOOTHING = 0.5
BIAS = 1.0  # added to each weight, so that a manager whose calls all failed is still tried now and then
BACKOFF_FLOOR = 0.1  # seconds
BACKOFF_CEILING = 8.0  # seconds


class Remotes:
    """Managers by address (`host:port`) and weight."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = {address: _clip(weight) for address, weight in weights.items()}

    def weights(self) -> dict[str, int]:
        """Return every known manager and its weight, to be kept for the next start."""
        return dict(self._weights)

    def update(self, managers: Iterable[tuple[str, int]]) -> bool:
        """Add managers that a session newly names, drop those that it no longer names. Return whether any changed.

        An empty list changes nothing.
        """
        named = dict(managers)
        if not named or named.keys() == self._weights.keys():
            return False
        self._weights = {address: self._weights.get(address, _clip(weight)) for address, weight in named.items()}
        return True

    def observe(self, address: str, *, good: bool) -> None:
        """Move a manager's weight half-way to 10 after a good call, half-way to -10 after a bad one."""
        if address in self._weights:
            moved = SMOOTHING * (OBSERVED if good else -OBSERVED) + (1 - SMOOTHING) * self._weights[address]
            self._weights[address] = _clip(-int(-moved // 1))

    def select(self, random: Callable[[], float], *, but: str = "") -> str | None:
        """Return a random manager, the heavier the likelier; None when no manager is known.

        `but` is returned only when no other manager is known. `random` draws from [0, 1).
        """
        known = {address: weight for address, weight in self._weights.items() if address != but} or self._weights
        if not known:
            return None
        lowest = min(known.values())
        shares = [(address, weight - lowest + BIAS) for address, weight in known.items()]
        point = random() * sum(share for _, share in shares)
        for address, share in shares:
            point -= share
            if point < 0:
                return address
        return shares[-1][0]


def next_backoff(previous: float) -> float:
    """Return the longest wait before the next registration, in seconds. The caller draws the wait from [0, this)."""
    return min(BACKOFF_FLOOR + 2 * previous, BACKOFF_CEILING)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[v6]:port`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _clip(weight: int) -> int:
    return max(-WEIGHT_MAX, min(WEIGHT_MAX, weight))
