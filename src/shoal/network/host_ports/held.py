"""The ports that a container was given, with what holds them. Pure: the sockets are another's to make (`holding`)."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from shoal.network.types import HostPort


class Holding(Protocol):
    """A socket, as far as it is used here."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Held:
    """The ports that a container was given, and what holds them: give the sockets to who lives as long as it."""

    def __init__(self, ports: Sequence[HostPort] = (), sockets: Sequence[Holding] = ()) -> None:
        self.ports = tuple(ports)
        self.sockets = tuple(sockets)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What is to be inherited."""
        return tuple(one.fileno() for one in self.sockets)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close what is held here; who inherited it goes on holding. May be repeated."""
        for one in self.sockets:
            one.close()
