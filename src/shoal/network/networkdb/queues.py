"""What is to be gossiped: each message a number of times, then no more.

Those that were sent least often go first, and of those the oldest: none waits behind ones that come later. A message is
counted as sent when it was drawn, and whatever is drawn fits (known fault 6).
"""

import math
from collections.abc import Hashable

from shoal.network.networkdb import messages

RETRANSMIT = 4  # memberlist's
# Bytes of a table packet: Docker's 1400, its MTU of 1500 less 100, without what memberlist needs of them. It refuses
# longer ones, and whatever was in them would count as sent.
PACKET = 1370
# Relayed events of one network. Docker holds those from a bulk sync back at 500. The ones that were sent most often are
# dropped beyond, then the oldest; a bulk sync brings them.
MOST_RELAYED = 4096
MOST_QUEUED = 1 << 20  # for queues whose keys are bounded by other limits
# While others' events wait, own ones leave them this part of a packet.
_OWN_PART = 3 / 4
# So many messages that do not fit are passed over before a packet is taken for full.
_MISFITS = 32

_Item = tuple[bytes, int]  # a message, and the room that it takes


def transmits(nodes: int) -> int:
    """Return how often a message is sent where so many nodes, this one included, are to hear it. As memberlist."""
    return RETRANSMIT * max(1, math.ceil(math.log10(nodes + 1)))


class Queue:
    """Messages by key; a newer one takes the place of an older."""

    def __init__(self, most: int = MOST_QUEUED) -> None:
        self._most = most
        self._rows: list[dict[Hashable, _Item]] = [{}]  # by how often they were sent
        self._row_of: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._row_of

    def __bool__(self) -> bool:
        return bool(self._row_of)

    def put(self, key: Hashable, message: bytes, cost: int | None = None) -> None:
        """Queue a message that was not sent yet. `cost`: the room that it takes, if that is not its length."""
        self.discard(key)
        if len(self._row_of) >= self._most:
            row = next(row for row in reversed(self._rows) if row)
            self.discard(next(iter(row)))
        self._rows[0][key] = (message, len(message) if cost is None else cost)
        self._row_of[key] = 0

    def discard(self, key: Hashable) -> None:
        """Drop a message, if it is there."""
        row = self._row_of.pop(key, None)
        if row is not None:
            del self._rows[row][key]

    def draw(self, room: int, times: int, overhead: int = 0) -> list[bytes]:
        """Return messages that fit into the room, each with the overhead. Each is dropped when drawn `times` times."""
        return [message for message, _ in self.draw_items(room, times, overhead)]

    def draw_items(self, room: int, times: int, overhead: int = 0) -> list[_Item]:
        """Do the same, and return what each costs without the overhead."""
        drawn: list[tuple[int, Hashable, _Item]] = []
        misfits = 0
        for number, row in enumerate(self._rows):
            for key, item in row.items():
                needed = item[1] + overhead
                if needed <= room:
                    room -= needed
                    drawn.append((number, key, item))
                else:
                    misfits += 1
                    if misfits == _MISFITS:
                        break
            if misfits == _MISFITS:
                break
        for number, key, item in drawn:
            self.discard(key)
            if number + 1 < times:
                while len(self._rows) <= number + 1:
                    self._rows.append({})
                self._rows[number + 1][key] = item
                self._row_of[key] = number + 1
        return [item for _, _, item in drawn]


class TableQueue:
    """Table events of one network: this node's own before those that it passes on (known fault 7)."""

    def __init__(self) -> None:
        self.own = Queue()
        self.relayed = Queue(MOST_RELAYED)
        self.long = Queue(MOST_RELAYED)  # longer than a packet: they go by a stream, one at a time

    def __bool__(self) -> bool:
        return bool(self.own) or bool(self.relayed) or bool(self.long)

    def __len__(self) -> int:
        return len(self.own) + len(self.relayed) + len(self.long)

    def put(self, key: Hashable, message: bytes, own: bool) -> None:
        """Queue an event in the place of an older one about the key."""
        self.discard(key)
        cost = messages.cost_in_compound(len(message))
        if cost > PACKET - messages.COMPOUND_OVERHEAD:
            self.long.put(key, message, 1)
        else:
            (self.own if own else self.relayed).put(key, message, cost)

    def discard(self, key: Hashable) -> None:
        """Drop the event about a key, if there is one."""
        for queue in (self.own, self.relayed, self.long):
            queue.discard(key)

    def draw(self, times: int) -> bytes | None:
        """Return one packet, a compound."""
        room = PACKET - messages.COMPOUND_OVERHEAD
        own_room = int(room * _OWN_PART) if self.relayed else room
        drawn = self.own.draw_items(own_room, times) or self.own.draw_items(room, times)
        drawn += self.relayed.draw_items(room - sum(cost for _, cost in drawn), times)
        return messages.compound(message for message, _ in drawn) if drawn else None

    def draw_long(self, times: int) -> bytes | None:
        """Return one event that is longer than a packet."""
        drawn = self.long.draw(1, times)
        return messages.compound(drawn) if drawn else None
