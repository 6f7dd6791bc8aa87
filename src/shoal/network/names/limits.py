"""How much one container may ask. Pure.

Each sandbox is read in turn, a few questions at a time, and has a rate of its own: what a flood asks above it stays in
its own socket, whose queue the kernel bounds. Questions that go outside cost a socket each and others' resolvers; they
have a rate and a number of their own. What a flooding container is refused never counts against another.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may have, but for `all_outside`."""

    # Half of what one core answers: a flood takes no more of it, and no honest program asks so much.
    rate: float = 20_000.0  # questions a second
    # Read before the loop turns to others: 0.7 ms.
    turn: int = 32
    outside_rate: float = 2_000.0  # questions a second
    outside: int = 256  # under way at a time; Docker has 1024 a container, each a thread's wait
    # Of all sandboxes, with three sockets each at worst: the process needs as many descriptors.
    all_outside: int = 2_048
    # A sandbox has so many even when others have taken all: theirs is then slow, not dead.
    outside_own: int = 8
    connections: int = 64  # by TCP, at a time
    # miekg/dns closes after so many questions and so much idle time.
    connection_questions: int = 128
    idle: float = 8.0  # seconds
    connection_time: float = 120.0  # seconds, however busy it is


class Bucket:
    """A rate: tokens that come evenly and are kept for one second."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._tokens = rate
        self._at = now

    def take(self, wanted: int, now: float) -> int:
        """Return how many of so many may be had now."""
        self._tokens = min(self._rate, self._tokens + max(now - self._at, 0.0) * self._rate)
        self._at = now
        given = max(0, min(wanted, int(self._tokens)))  # below 0 after `spend`
        self._tokens -= given
        return given

    def spend(self, count: int, now: float) -> float:
        """Take so many, though they be not there yet, and return in how many seconds they would have been."""
        self.take(0, now)
        self._tokens -= count
        return self.wait(0)

    def give_back(self, count: int) -> None:
        """Return what was taken and not used."""
        self._tokens += count

    def wait(self, count: int) -> float:
        """Return in how many seconds so many are there."""
        return max(0.0, (min(count, self._rate) - self._tokens) / self._rate)


class Outside:
    """Who has how many questions outside."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rates: dict[str, Bucket] = {}
        self.of: dict[str, int] = {}
        self.all = 0

    def begin(self, container: str, now: float) -> bool:
        """Take one for a container; False where it has too many, or asks too often."""
        mine = self.of.get(container, 0)
        if mine >= self._limits.outside:
            return False
        if self.all >= self._limits.all_outside and mine >= self._limits.outside_own:
            return False
        rate = self._rates.get(container)
        if rate is None:
            rate = self._rates[container] = Bucket(self._limits.outside_rate, now)
        if not rate.take(1, now):
            return False
        self.of[container] = mine + 1
        self.all += 1
        return True

    def end(self, container: str) -> None:
        """One is over."""
        self.all -= 1
        self.of[container] -= 1
        if not self.of[container]:
            del self.of[container]

    def forget(self, container: str) -> None:
        """A container is gone; what it has under way ends by `end`."""
        self._rates.pop(container, None)
