"""libnftables in this process: a text of nft's language in, what nft would print out. Blocking; one thread uses it.

Ten to fifty times quicker than the program `nft` (docs/decisions/0023-network-process.md). A text is one transaction:
it holds whole or not at all.
"""

import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from shoal.errors import MissingProgram, ShoalError
from shoal.network.namespaces import Namespaces
from shoal.network.netlink import NetlinkSocket

LIBRARY, PACKAGE = "libnftables.so.1", "libnftables1"
# nftables/libnftables.h
_DEFAULT, _OUTPUT_JSON = 0, 1 << 4
# Each open context has 0.63 MB. Where there are so many, the half that was used longest ago is closed.
MOST_CONTEXTS = 64
# Opening one costs 0.7 ms. To close one, as to close any netfilter socket, the kernel waits some 15 ms where something
# was destroyed just before; the others then have waited with it. So nothing is closed while somebody waits.
IDLE = 0.5


class Refused(ShoalError):
    """nft did not take a text. Its own words, without the places in the text that they point to."""


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise MissingProgram(LIBRARY, PACKAGE) from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = (ctypes.c_uint32,)
    library.nft_ctx_free.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_output_set_flags.argtypes = (ctypes.c_void_p, ctypes.c_uint)
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = (ctypes.c_void_p,)
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        function = getattr(library, name)
        function.restype, function.argtypes = ctypes.c_char_p, (ctypes.c_void_p,)
    library.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    return library


class Context:
    """One context of the library, of the network namespace in which it was opened.

    It is to be used there too: the library opens further sockets when a rule names an interface. While it is open, the
    namespace lives.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._context = library.nft_ctx_new(_DEFAULT)
        if not self._context:
            raise ShoalError("libnftables gives no context: out of memory, or no netlink socket")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        """Close it; may be repeated."""
        context, self._context = self._context, None
        if context:
            self._library.nft_ctx_free(context)

    def run(self, text: str, *, json: bool = False) -> str:
        """Carry a text out and return what nft would print. Refused, and then nothing of it holds."""
        self._library.nft_ctx_output_set_flags(self._context, _OUTPUT_JSON if json else 0)
        failed = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
        output = self._library.nft_ctx_get_output_buffer(self._context).decode(errors="replace")
        words = self._library.nft_ctx_get_error_buffer(self._context).decode(errors="replace")
        if failed:
            raise Refused(reason(words))
        return str(output)


def reason(words: str) -> str:
    """Return the sentences of what nft says, on one line: it repeats the lines of the text and underlines a place."""
    said = [line.partition("Error: ")[2] for line in words.splitlines() if "Error: " in line]
    return "; ".join(dict.fromkeys(said)) or words.strip() or "nft gives no reason"


@dataclass(slots=True)
class _Open:
    """What is open in one namespace."""

    context: Context
    used_at: float
    socket: NetlinkSocket | None = None

    def close(self) -> None:
        self.context.close()
        if self.socket is not None:
            self.socket.close()


class Nftables:
    """Runs texts in whichever namespace, and keeps contexts for a moment. To be used by the thread of `namespaces`."""

    def __init__(self, namespaces: Namespaces, clock: Callable[[], float] = time.monotonic) -> None:
        self._namespaces = namespaces
        self._clock = clock
        self._library = _load()
        self._open: dict[int, _Open] = {}  # by the namespace's inode, the one used longest ago first
        self.updates = 0
        """How many texts have changed something: all but listings."""

    def __len__(self) -> int:
        return len(self._open)

    def run(self, text: str, netns: int | None = None, *, json: bool = False) -> str:
        """Carry a text out in the namespace of an open file, or in the one that the thread is in. Refused."""
        if netns is None:
            return self._run("/proc/thread-self/ns/net", text, json)
        with self._namespaces.inside(netns):
            return self._run(netns, text, json)

    def _run(self, where: int | str, text: str, json: bool) -> str:
        self.updates += not text.startswith("list ")
        return self._held(os.stat(where).st_ino).context.run(text, json=json)

    def _held(self, inode: int) -> _Open:
        """Return what is open in the namespace that the thread is in."""
        held = self._open.pop(inode, None) or _Open(self._make_room(), 0.0)
        held.used_at = self._clock()
        self._open[inode] = held
        return held

    def socket(self, netns: int) -> NetlinkSocket:
        """Return a netfilter socket in the namespace of an open file; it stays open here for a moment."""
        with self._namespaces.inside(netns):
            held = self._held(os.fstat(netns).st_ino)
            if held.socket is None:
                held.socket = NetlinkSocket(netfilter=True)
            return held.socket

    def drop_socket(self, netns: int) -> None:
        """Close that socket: not all was read from it."""
        held = self._open.get(os.fstat(netns).st_ino)
        if held is not None and held.socket is not None:
            held.socket.close()
            held.socket = None

    def _make_room(self) -> Context:
        if len(self._open) >= MOST_CONTEXTS:
            for inode in list(self._open)[: MOST_CONTEXTS // 2]:
                self._open.pop(inode).close()
        return Context(self._library)

    def tidy(self) -> float | None:
        """Close what has been idle. Return in how many seconds to call again; None when nothing is open."""
        now = self._clock()
        for inode in [inode for inode, kept in self._open.items() if now - kept.used_at >= IDLE]:
            self._open.pop(inode).close()
        return min((kept.used_at + IDLE - now for kept in self._open.values()), default=None)

    def close(self) -> None:
        """Close all; may be repeated."""
        while self._open:
            self._open.popitem()[1].close()
