"""From a question to its answer, or to "ask outside": by Docker's rules. Pure.

Source: libnetwork's resolver.go and sandbox.go (ResolveName), 28.x. A name that any network of the asker knows is never
asked outside, whatever the type of address; other types of record than addresses, PTR and MX always are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from shoal.network.claims import Named
from shoal.network.directory import Directory
from shoal.network.names import questions
from shoal.network.names.questions import AAAA, BADVERS, MX, PTR, A, Question
from shoal.network.records import Address
from shoal.network.wanted import Overlay, Sandbox

_REMEMBERED = 256  # 100 kB a sandbox at most, and for that a container must ask for long names
_V4, _V6 = ".in-addr.arpa", ".ip6.arpa"


Draw = Callable[[], float]  # random.Random.random: from 0, below 1


@dataclass(frozen=True, slots=True)
class Asker:
    """A container that asks."""

    container: str
    networks: tuple[str, ...] = ()  # ids, in the order in which they are searched
    called: tuple[tuple[str, str], ...] = ()  # (id, name) of each
    by_name: Mapping[str, tuple[str, ...]] | None = None  # a network's name in lower case -> ids
    servers: tuple[str, ...] = ()  # asked outside; none: the host's
    forward: bool = True  # False where it is on internal networks alone: it shall not reach the outside
    # Somebody has set `ndots`: then an unknown name of one label is empty, and the asker goes on with its search list.
    ndots_set: bool = False


def asker(sandbox: Sandbox, overlays: Iterable[Overlay]) -> Asker:
    """Return who asks from a sandbox: on the networks that have names, internal ones last, then by name."""
    here = {endpoint.network for endpoint in sandbox.endpoints}
    on = sorted(
        (one for one in overlays if one.id in here and not one.ingress), key=lambda one: (one.internal, one.name)
    )
    by_name: dict[str, tuple[str, ...]] = {}
    for network in on:
        key = network.name.lower()
        by_name[key] = (*by_name.get(key, ()), network.id)
    return Asker(
        sandbox.container,
        tuple(one.id for one in on),
        tuple((one.id, one.name) for one in on),
        by_name,
        sandbox.servers,
        forward=not on or any(not one.internal for one in on),
        ndots_set=sandbox.ndots_set,
    )


class Remembered:
    """Replies that are the same each time, for one asker, until the directory changes.

    A program asks for the same few names again and again, and a reply is half the work. Those of several addresses are
    not among them: they are shuffled anew.
    """

    def __init__(self) -> None:
        self._replies: dict[bytes, bytes] = {}
        self._generation = -1

    def get(self, message: bytes, directory: Directory) -> bytes | None:
        """Return the reply to a message that was answered before."""
        if self._generation != directory.generation:
            self._replies.clear()
            self._generation = directory.generation
            return None
        rest = self._replies.get(message[2:])
        return message[:2] + rest if rest else None

    def keep(self, message: bytes, reply: bytes) -> None:
        """Remember a reply, which `get` has just not known."""
        count, flags = reply[6] << 8 | reply[7], reply[2] << 8
        if count > 1 or flags & questions.TC:
            return
        if len(self._replies) >= _REMEMBERED:
            self._replies.clear()
        self._replies[message[2:]] = reply[2:]


def answer(question: Question, who: Asker, directory: Directory, draw: Draw, limit: int) -> bytes | None:
    """Return the reply, of `limit` bytes at most; None: it is to be asked outside."""
    if question.edns_version:
        return questions.reply(question, BADVERS)
    name, kind = question.name, question.kind
    if name is None:
        return None
    if kind in (A, AAAA):
        for named in _known(name, who, directory):
            if addresses := named.v4 if kind == A else named.v6:
                return _addresses(question, addresses, draw, limit)
    elif kind == PTR:
        return _pointer(question, name, who, directory)
    elif kind != MX:
        return None
    for _ in _known(name, who, directory):
        # No address of this family; or a mail server that is to be found by its address (RFC 5321, 5.1).
        return questions.reply(question)
    if kind in (A, AAAA) and who.ndots_set and "." not in name:
        return questions.reply(question)
    return None


def _known(name: str, who: Asker, directory: Directory) -> Iterator[Named]:
    """Yield what the networks know: `a.b.c` on all, else `a.b` on the network c, else `a` on the network b.c."""
    found = False
    for network in who.networks:
        if named := directory.named(network, name):
            found = True
            yield named
    at = len(name)
    while not found and (at := name.rfind(".", 0, at)) > 0:
        for network in (who.by_name or {}).get(name[at + 1 :], ()):
            if named := directory.named(network, name[:at]):
                found = True
                yield named


def _addresses(question: Question, addresses: Sequence[bytes], draw: Draw, limit: int) -> bytes:
    count = len(addresses)
    if count == 1:
        return questions.reply(question, records=addresses)
    fit = min(count, questions.room(question, limit, len(addresses[0])))
    # Shuffled as far as they are sent: random.sample takes three times as long for a few.
    mixed = list(addresses)
    for at in range(fit):
        other = at + int(draw() * (count - at))
        mixed[at], mixed[other] = mixed[other], mixed[at]
    return questions.reply(question, records=mixed[:fit], truncated=fit < count)


def _pointer(question: Question, name: str, who: Asker, directory: Directory) -> bytes | None:
    address = reversed_address(name)
    if address is None:
        return None
    for network, called in who.called:
        container = directory.pointer(network, address)
        if container and (wire := questions.wire_name(f"{container}.{called}")):
            return questions.reply(question, records=[wire])
    return None


@lru_cache(maxsize=256)
def reversed_address(name: str) -> Address | None:
    """Return the address that a name of in-addr.arpa or ip6.arpa stands for; None where it stands for no whole one."""
    if not name.isascii():
        return None  # other scripts have digits, too
    if name.endswith(_V4):
        parts = name[: -len(_V4)].split(".")
        if len(parts) == 4 and all(part.isdigit() and (part[0] != "0" or part == "0") for part in parts):
            numbers = [int(part) for part in parts if len(part) <= 3]
            if len(numbers) == 4 and max(numbers) < 256:
                return IPv4Address(bytes(reversed(numbers)))
    elif name.endswith(_V6):
        digits = name[: -len(_V6)].split(".")
        if len(digits) == 32 and all(len(digit) == 1 and digit in "0123456789abcdef" for digit in digits):
            return IPv6Address(int("".join(reversed(digits)), 16))
    return None
