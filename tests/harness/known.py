"""Remembers what a client knows about the services that it writes, and checks at the end whether that is what is there.

Each write has a word of its own. A service has the words of all writes that made it what it is: an update reads the
words, adds its own, and is accepted only for the version that it has read. So a write that was lost or carried out
twice is found at the end, whatever became of the calls in between.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

WORDS = "words"
"""The label that carries them."""


class Found(NamedTuple):
    """A service as it was found in the swarm."""

    name: str
    id: str
    words: list[str]
    replicas: int


@dataclass
class Known:
    """What is known about one service. Each name is used only once."""

    name: str
    id: str = ""  # after its creation was acknowledged
    tried: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    replicas: dict[str, int] = field(default_factory=dict)  # after the write of this word
    created: bool = False
    removing: bool = False  # it may be gone
    removed: bool = False
    left: bool = False  # it was not found and may not exist, so its client goes on with others

    def word(self, replicas: int) -> str:
        """Return the word of the next write, which asks for this many replicas."""
        word = f"{self.name}.{len(self.tried)}"
        self.tried.append(word)
        self.replicas[word] = replicas
        return word

    def problem(self, found: list[Found]) -> str:
        """Return what is wrong with the services of this name, or an empty text."""
        if len(found) > 1:
            return "is there twice"
        if self.removed:
            return "is there, though its removal was acknowledged" if found else ""
        if not found:
            return "" if self.removing or not self.created else "is gone, though nobody has removed it"
        ((_, service_id, words, replicas),) = found
        if self.id and service_id != self.id:
            return f"has the id {service_id}, was acknowledged as {self.id}"
        if lost := [word for word in self.acknowledged if word not in words]:
            return f"has lost acknowledged writes: {lost}"
        if len(set(words)) != len(words) or set(words) - set(self.tried):
            return "has writes that came twice, or from nowhere"
        if [word for word in self.tried if word in words] != words:
            return "has writes in another order"
        if replicas != self.replicas[words[-1]]:
            return f"has other replicas than its last write said: {self.replicas[words[-1]]}"
        return ""

    def settle(self, found: list[Found]) -> None:
        """Accept what is there as known: when no call is under way any more, nothing is in doubt."""
        self.removed = self.removing = not found
        for service in found:
            self.created, self.id, self.acknowledged = True, service.id, list(service.words)


def problems(known: Iterable[Known], services: Iterable[Found]) -> list[str]:
    """Return all differences between the services that there are and what clients were told."""
    by_name: dict[str, list[Found]] = {}
    for service in services:
        by_name.setdefault(service.name, []).append(service)
    told = [(one, by_name.pop(one.name, [])) for one in known]
    strange = [f"{name} is there, and nobody has made it" for name in by_name]
    return strange + [
        f"{one.name} {problem}: {one}; found: {found}" for one, found in told if (problem := one.problem(found))
    ]


def settle(known: Iterable[Known], services: Iterable[Found]) -> None:
    """Accept what is there as known, for all services."""
    there = {service.name: service for service in services}
    for one in known:
        one.settle([there[one.name]] if one.name in there else [])
