"""Which manager to ask next, and how long to wait before. Pure.

In: the managers that the last session named, how calls to them went, and random numbers; out: an address. Source of the
numbers: SwarmKit remotes/remotes.go, agent/agent.go.
"""

from collections.abc import Callable, Iterable, Mapping

WEIGHT_MAX = 256
OBSERVED = 10  # what one good or bad call weighs
SMOOTHING = 0.5
BIAS = 1.0  # so that a manager whose every call failed is still tried now and then
BACKOFF_FLOOR = 0.1
BACKOFF_CEILING = 8.0


class Remotes:
    """Managers by address (`host:port`) and weight."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = {address: _clip(weight) for address, weight in weights.items()}

    def weights(self) -> dict[str, int]:
        """Return every known manager and its weight: what is kept for the next start."""
        return dict(self._weights)

    def update(self, managers: Iterable[tuple[str, int]]) -> bool:
        """Take the managers that a session named: new ones are added, others dropped. Return whether any changed."""
        named = dict(managers)
        if not named or named.keys() == self._weights.keys():
            return False
        self._weights = {address: self._weights.get(address, _clip(weight)) for address, weight in named.items()}
        return True

    def observe(self, address: str, *, good: bool) -> None:
        """Move a manager's weight half-way to what this call says of it."""
        if address in self._weights:
            moved = SMOOTHING * (OBSERVED if good else -OBSERVED) + (1 - SMOOTHING) * self._weights[address]
            self._weights[address] = _clip(-int(-moved // 1))

    def select(self, random: Callable[[], float], *, but: str = "") -> str | None:
        """Return a manager at random by weight, another than `but` where there is one; None when none is known.

        `random` draws from [0, 1).
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
    """Return the longest wait before the next registration; the wait itself is drawn from [0, this)."""
    return min(BACKOFF_FLOOR + 2 * previous, BACKOFF_CEILING)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[v6]:port`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _clip(weight: int) -> int:
    return max(-WEIGHT_MAX, min(WEIGHT_MAX, weight))
