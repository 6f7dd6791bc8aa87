"""Lamport's clock: times of events, and which times of others are believed."""

# A swarm that is busy for ten years has 100,000 events a second at the most: 2^45. A node that is new, or was away, may
# see its clock behind by that. Within an hour a clock is never behind by 2^24; more than that is a leap.
LEAP = 1 << 24
FURTHEST = 1 << 45
LEAP_EVERY = 60.0
CEILING = 1 << 63


class Clock:
    """A time that never goes back.

    A forged time near the end of what 64 bits hold would leave no later one for anybody's next event. So times are
    believed up to `LEAP` ahead, and once in `LEAP_EVERY` seconds up to `FURTHEST` ahead; an event of any other time is
    refused. Whoever forges leaps needs half a year to bring the clock near its end; meanwhile all goes on. Docker
    believes every time: its nodes whose clock was led beyond `FURTHEST` are not heard here until they start again.
    """

    def __init__(self) -> None:
        self._time = 0
        self._leapt_at = float("-inf")

    @property
    def time(self) -> int:
        """The time of the latest event."""
        return self._time

    def resume(self, time: int) -> None:
        """Go on from where this node's clock was before its program was another one."""
        self._time = max(self._time, min(time, CEILING - 1))

    def increment(self) -> int:
        """Return the time of a new event of our own."""
        self._time += 1
        return self._time

    def witness(self, seen: int, now: float) -> bool:
        """Take the time of somebody's event; False if the event is not to be believed.

        A time that is not behind puts the clock one after it, as Docker does.
        """
        ahead = seen - self._time
        if ahead < 0:
            return True
        if seen >= CEILING:
            return False
        if ahead > LEAP:
            if ahead > FURTHEST or now - self._leapt_at < LEAP_EVERY:
                return False
            self._leapt_at = now
        self._time = seen + 1
        return True
