"""How much work those may make who have shown no key: what they send costs time before it turns out to be nothing.

Pure. In: addresses, and who could not be decrypted. Out: whether to look at what an address sends. A member that has
answered once is looked at always, so that a flood does not make the others suspect each other. An address can be
forged in a datagram, so that there is a limit for all strangers together as well.
"""

MAX_FAILURES = 20  # datagrams of one address in a second that no key decrypts; then it is silent to us until the next
MAX_ALL_FAILURES = 1000  # the same, of all: some 30 ms of a second
MAX_ADDRESSES = 1024  # counted apart; beyond it only together

MAX_STREAMS = 64  # open at once, of everybody
# A member has a push/pull and a ping, and sends long bulk syncs in parts; one that is not known yet, a push/pull.
MAX_STREAMS_OF_ONE = 16
MAX_STREAMS_OF_ONE_STRANGER = 4
MAX_STREAMS_OF_STRANGERS = 16
# Of streams that are being read, together: of members, and of all others, who may promise much and never send it.
MAX_BYTES = 32 << 20
MAX_BYTES_OF_STRANGERS = 16 << 20


class Strangers:
    """Counts failures in the second that is running."""

    def __init__(self) -> None:
        self._second = -1
        self._failures: dict[str, int] = {}
        self._all = 0

    def may_send(self, address: str, now: float) -> bool:
        """Return whether a datagram of a stranger is to be looked at."""
        self._turn(now)
        return self._all < MAX_ALL_FAILURES and self._failures.get(address, 0) < MAX_FAILURES

    def failed(self, address: str, now: float) -> None:
        """Take in that a datagram was none of ours."""
        self._turn(now)
        self._all += 1
        if address in self._failures or len(self._failures) < MAX_ADDRESSES:
            self._failures[address] = self._failures.get(address, 0) + 1

    def _turn(self, now: float) -> None:
        if int(now) != self._second:
            self._second, self._all = int(now), 0
            self._failures.clear()


class Streams:
    """Who has streams open here, and how much of them is in memory."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._strangers = 0
        self._bytes = {True: 0, False: 0}

    def __len__(self) -> int:
        return sum(self._open.values())

    def open(self, address: str, *, known: bool) -> bool:
        """Return whether one more is let in; then `close` gives its place back."""
        most = MAX_STREAMS_OF_ONE if known else MAX_STREAMS_OF_ONE_STRANGER
        if len(self) >= MAX_STREAMS or self._open.get(address, 0) >= most:
            return False
        if not known and self._strangers >= MAX_STREAMS_OF_STRANGERS:
            return False
        self._open[address] = self._open.get(address, 0) + 1
        self._strangers += not known
        return True

    def close(self, address: str, *, known: bool) -> None:
        """Give a stream's place back; `known` as it was opened."""
        self._strangers -= not known
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def take(self, size: int, *, known: bool) -> bool:
        """Return whether so many bytes may come into memory; then `give_back` frees them."""
        if self._bytes[known] + size > (MAX_BYTES if known else MAX_BYTES_OF_STRANGERS):
            return False
        self._bytes[known] += size
        return True

    def give_back(self, size: int, *, known: bool) -> None:
        """Free what was taken."""
        self._bytes[known] -= size
