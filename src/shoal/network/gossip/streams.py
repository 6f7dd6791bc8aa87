"""What peers say by TCP: one message a stream, and one answer to some.

Pure, and apart from the state, so that the shell can have a large one read in a thread. Reading is total:
InvalidArgument. Source: gossip.md 1.4.
"""

from dataclasses import dataclass

from shoal.errors import InvalidArgument
from shoal.network.gossip import framing, pushpull
from shoal.network.gossip.cipher import Keyring
from shoal.network.gossip.messages import Ack, Kind, Ping, decode


@dataclass(frozen=True, slots=True)
class UserMessage:
    """A message of the delegate's on another node."""

    message: bytes


@dataclass(frozen=True, slots=True)
class PeerError:
    """What the peer says went wrong."""

    text: str


Said = pushpull.PushPull | UserMessage | PeerError | Ping | Ack


def read(keyring: Keyring, header: bytes, body: bytes) -> Said:
    """Return what a stream says, from its header (`framing.HEADER` bytes) and its body."""
    message = framing.open_stream(keyring, header, body)
    kind = message[0]
    if kind == Kind.PUSH_PULL:
        return pushpull.read(message)
    if kind == Kind.USER:
        return UserMessage(framing.read_user_stream(message))
    if kind == Kind.ERROR:
        return PeerError(framing.error_text(message))
    said = decode(message)
    if isinstance(said, Ping | Ack):
        return said
    raise InvalidArgument(f"a message of kind {kind} does not come by TCP")
