"""What memberlist wants done, as values: packets and streams for its shell to carry."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Send:
    """A datagram, ready to go."""

    address: str
    port: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """A stream to open: send `data`, and hand in under the same number what is answered, or that it failed.

    `answered`: whether there is an answer to wait for. All of it may take `timeout` seconds.
    """

    number: int
    address: str
    port: int
    data: bytes
    answered: bool
    timeout: float


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log. `kind` is what makes lines equal."""

    kind: str
    text: str


Command = Send | Ask | Note
