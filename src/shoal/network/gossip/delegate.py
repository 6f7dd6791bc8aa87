"""Who uses memberlist, and what it tells him: NetworkDB."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class State(IntEnum):
    """What is believed of a member. The numbers are those on the wire."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


@dataclass(frozen=True, slots=True)
class Member:
    """A node in gossip. `name` is random at each start and is not the swarm's node id; `address` is without port."""

    name: str
    address: str
    port: int
    state: State
    answered: bool = True  # at least once: one that never did may have been made up


class Listener(Protocol):
    """What is told of members. Nothing here may raise; any of it may call memberlist back."""

    def member_joined(self, member: Member, now: float) -> None:
        """A member is known now, or is alive again."""

    def member_failed(self, member: Member, now: float) -> None:
        """A member was silent and is taken for dead."""

    def member_left(self, member: Member, now: float) -> None:
        """A member said that it leaves, or was forgotten to make room."""

    def member_updated(self, member: Member, now: float) -> None:
        """A member that is alive has another address or meta."""


class Delegate(Listener, Protocol):
    """What is told besides, and what is asked for. Nothing here may raise either."""

    def heard(self, message: bytes, now: float) -> None:
        """A user's message arrived, by UDP or TCP."""

    def confirmed(self, number: int, arrived: bool, now: float) -> None:
        """A member has got what was told to it under a number; or it does not live for all that is known."""

    def broadcasts(self, overhead: int, limit: int, now: float) -> list[bytes]:
        """Return messages to be sent along: the sum of their lengths, and of `overhead` for each, is at most `limit`.

        Each of them counts as sent once.
        """

    def local_state(self, join: bool, now: float) -> bytes:
        """Return the state that goes with a push/pull."""

    def merge_state(self, state: bytes, join: bool, now: float) -> None:
        """Take in the state that came with a push/pull. The members that came with it are known already."""
