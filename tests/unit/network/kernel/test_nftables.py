"""What libnftables says, and how many contexts stay open: with a library that only answers."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import cast

import pytest

from shoal.errors import MissingProgram
from shoal.network.kernel import nftables
from shoal.network.kernel.nftables import Nftables, Refused, reason
from shoal.network.namespaces import Namespaces


class Library:
    """Takes every text but `bad`, and prints `listed` in the form that was asked for."""

    def __init__(self) -> None:
        self.open: list[int] = []
        self.ever = 0
        self._json = False
        self._failed = False

    def nft_ctx_new(self, flags: int) -> int:
        self.ever += 1
        self.open.append(self.ever)
        return self.ever

    def nft_ctx_free(self, context: int) -> None:
        self.open.remove(context)

    def nft_ctx_output_set_flags(self, context: int, flags: int) -> None:
        self._json = bool(flags)

    def nft_ctx_buffer_output(self, context: int) -> None:
        pass

    nft_ctx_buffer_error = nft_ctx_buffer_output

    def nft_run_cmd_from_buffer(self, context: int, text: bytes) -> int:
        assert context in self.open
        self._failed = text == b"bad"
        return -1 if self._failed else 0

    def nft_ctx_get_output_buffer(self, context: int) -> bytes:
        return b'{"listed": 1}' if self._json else b"listed"

    def nft_ctx_get_error_buffer(self, context: int) -> bytes:
        return b"<cmdline>:1:1-3: Error: syntax error\nbad\n^^^\n" if self._failed else b""


class Here:
    """Namespaces that are never entered."""

    def __init__(self) -> None:
        self.entered: list[int] = []

    @contextmanager
    def inside(self, netns: int) -> Iterator[None]:
        self.entered.append(netns)
        yield


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    monkeypatch.setattr(nftables, "_load", lambda: library)
    return library


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nftables, "LIBRARY", "libnftables.so.none")
    with pytest.raises(MissingProgram, match=r"libnftables\.so\.none .* install the package libnftables1"):
        Nftables(cast(Namespaces, Here()))


def test_a_refusal_has_the_librarys_words(library: Library) -> None:
    with pytest.raises(Refused, match=r"^syntax error$"):
        Nftables(cast(Namespaces, Here())).run("bad")


def test_json_is_given_where_it_is_asked_for(library: Library) -> None:
    tables = Nftables(cast(Namespaces, Here()))
    assert [tables.run("list", json=True), tables.run("list")] == ['{"listed": 1}', "listed"]
    assert library.ever == 1


@pytest.mark.parametrize(
    ("words", "short"),
    [
        ("<cmdline>:1:1-3: Error: No such file\nadd rule\n^^^\n<cmdline>:2:1-3: Error: No such file\n", "No such file"),
        ("a:1: Error: one\nb:2: Error: two\n", "one; two"),
        ("netlink: out of memory\n", "netlink: out of memory"),
        ("", "nft gives no reason"),
    ],
)
def test_a_reason_is_one_line(words: str, short: str) -> None:
    assert reason(words) == short


def test_idle_contexts_are_closed_and_their_number_has_a_limit(library: Library, tmp_path: Path) -> None:
    now, here = 0.0, Here()
    tables = Nftables(cast(Namespaces, here), clock=lambda: now)
    files = []
    for number in range(nftables.MOST_CONTEXTS + 3):
        file = tmp_path / str(number)
        file.touch()
        files.append(os.open(file, os.O_RDONLY))
        tables.run("list", files[-1])
    assert here.entered == files
    assert library.open == list(range(nftables.MOST_CONTEXTS // 2 + 1, nftables.MOST_CONTEXTS + 4))
    now = nftables.IDLE - 0.1
    tables.run("list", files[-1])
    assert tables.tidy() == pytest.approx(0.1)
    now = nftables.IDLE
    assert tables.tidy() == pytest.approx(nftables.IDLE - 0.1)
    assert library.open == [nftables.MOST_CONTEXTS + 3]  # the one that was used meanwhile
    tables.close()
    assert (library.open, tables.tidy(), len(tables)) == ([], None, 0)
    for file_number in files:
        os.close(file_number)


def test_the_real_library_knows_what_is_asked_of_it() -> None:
    try:
        library = ctypes.CDLL(nftables.LIBRARY)
    except OSError:
        pytest.skip("libnftables is not installed here")
    assert library.nft_run_cmd_from_buffer


def test_a_namespace_has_one_socket_which_goes_with_its_context(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[BytesIO] = []

    def open_socket(*, netfilter: bool) -> BytesIO:
        assert netfilter
        opened.append(BytesIO())
        return opened[-1]

    monkeypatch.setattr(nftables, "NetlinkSocket", open_socket)
    now = 100.0
    tables = Nftables(cast(Namespaces, Here()), clock=lambda: now)
    (tmp_path / "ns").touch()
    with (tmp_path / "ns").open("rb") as file:
        tables.run("good", file.fileno())
        first = tables.socket(file.fileno())
        assert tables.socket(file.fileno()) is first
        tables.drop_socket(file.fileno())
        tables.drop_socket(file.fileno())
        assert opened[0].closed
        assert tables.socket(file.fileno()) is not first
    assert len(library.open) == 1
    now += nftables.IDLE
    assert tables.tidy() is None
    assert [one.closed for one in opened] == [True, True]
    assert library.open == []
