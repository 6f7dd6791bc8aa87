"""Checks every request from another manager's etcd before a byte of it reaches ours. Pure.

In: the bytes of one connection, and the member of etcd's cluster at its other end. Out: the bytes that may pass, or
PermissionDenied. etcd's peer port believes what a request says about its sender, and serves far more than Raft: the
whole client API (gRPC), leases, hashes. Here only requests pass that a member needs, in its own name. Requests follow
each other on one connection (HTTP/1.1): each head is read, and each body is followed to its end.
Source of paths and headers: etcd 3.4 and 3.5 etcdserver/api/rafthttp, etcdserver/api/etcdhttp/peer.go.
"""

import re
from collections.abc import Callable, Collection, Mapping

from shoal.errors import PermissionDenied
from shoal.manager.peers.messages import MessageCheck
from shoal.store.etcd_config import peer_url

MAX_HEAD_BYTES = 8 * 1024  # etcd's own have about 400
_MAX_CHUNK_LINE_BYTES = 18  # sixteen digits, and the end of the line
_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_LENGTH = re.compile(r"[0-9]{1,12}")
_CHUNK = re.compile(rb"[0-9a-fA-F]{1,12}")
# Headers that no etcd sends to a peer, and that could give the rest of the connection another meaning.
_NEVER = ("upgrade", "expect", "trailer", "http2-settings")
_ONCE = ("content-length", "transfer-encoding", "x-server-from", "x-peerurls", "connection")
# Questions about members and versions, which a joining member asks, and the leader again and again.
_QUESTIONS = ("/raft/probing", "/members", "/version", "/downgrade/enabled")
_STREAMS = ("/raft/stream/msgapp/", "/raft/stream/message/")
_ID = re.compile(r"[0-9a-f]{1,16}")
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,2}")
_PROMOTE = re.compile(r"/members/promote/[0-9]{1,20}")
_MESSAGE, _SNAPSHOT = "/raft", "/raft/snapshot"


def last_question(data: bytes, members: Collection[int]) -> bytes | None:
    """Return a request that asks our etcd whether a manager that is no member was one before.

    When etcd is told that its member was removed, it ends and its manager joins again. So this one request of a former
    member is passed on, built again from the numbers in `data`, which is its first request. Returns None if `data` is
    another request, or names a present member (`members` are their ids).
    """
    end = data.find(b"\r\n\r\n")
    if not 0 < end < MAX_HEAD_BYTES:
        return None
    try:
        method, target, headers = _parsed(data[: end + 4])
    except PermissionDenied:
        return None
    stream, _, member = target.rpartition("/")
    if method != "GET" or f"{stream}/" not in _STREAMS or not _ID.fullmatch(member) or int(member, 16) in members:
        return None
    facts = {
        "x-server-from": _ID,
        "x-etcd-cluster-id": _ID,
        "x-server-version": _VERSION,
        "x-min-cluster-version": _VERSION,
    }
    if headers.get("x-server-from") != member or not all(
        shape.fullmatch(headers.get(name, "")) for name, shape in facts.items()
    ):
        return None
    lines = [f"GET {target} HTTP/1.0", "Host: localhost", *(f"{name}: {headers[name]}" for name in facts)]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def gone(question: bytes) -> bytes:
    """Return the answer to a request of `last_question`: the member was removed.

    The answer needs a version, because etcd takes one without for the answer of an etcd that is too old to know.
    """
    _, _, version = question.partition(b"x-server-version: ")
    return (
        b"HTTP/1.1 410 Gone\r\nX-Server-Version: "
        + version.partition(b"\r\n")[0]
        + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )


class Requests:
    """Checks the requests of one connection.

    `member_id` is the sender's id in etcd's cluster, `node_id` that of its node, `own_id` the id of our own member, or
    None while it is unknown.
    """

    def __init__(self, node_id: str, member_id: int, own_id: int | None = None) -> None:
        self._node_id = node_id
        self._member_id = member_id
        self._own_id = own_id
        self._held = b""  # the beginning of a head, or of a line between chunks, that is not complete yet
        self._step: Callable[[bytes], tuple[bytes, bytes]] = self._head
        self._left = 0  # remaining bytes of a body, or of a chunk
        self._is_chunked = False
        self._message: MessageCheck | None = None

    def feed(self, data: bytes) -> bytes:
        """Return the bytes that may pass now. Raises PermissionDenied; then nothing more may pass."""
        passed: list[bytes] = []
        while data:
            done, data = self._step(data)
            if done:
                passed.append(done)
        return passed[0] if len(passed) == 1 else b"".join(passed)

    # Each step reads some of the bytes. It returns those that may pass, and those that it did not read.

    def _head(self, data: bytes) -> tuple[bytes, bytes]:
        head, rest = self._until(b"\r\n\r\n", data, MAX_HEAD_BYTES, "a request's head is too long")
        if not head:
            return b"", b""
        method, target, headers = _parsed(head)
        self._judge(method, target, headers)
        self._begin_body(method, target, headers)
        return head, rest

    def _body(self, data: bytes) -> tuple[bytes, bytes]:
        part, rest = data[: self._left], data[self._left :]
        self._left -= len(part)
        if self._message is not None:
            self._message.feed(part)
        if not self._left:
            if self._is_chunked:
                self._step = self._chunk_end
            else:
                self._end_body()
        return part, rest

    def _chunk(self, data: bytes) -> tuple[bytes, bytes]:
        line, rest = self._until(b"\r\n", data, _MAX_CHUNK_LINE_BYTES, "a chunk has no length")
        if not line:
            return b"", b""
        if not _CHUNK.fullmatch(line[:-2]):
            raise PermissionDenied("a chunk has no length")
        self._left = int(line, 16)
        self._step = self._body if self._left else self._last_line
        return line, rest

    def _chunk_end(self, data: bytes) -> tuple[bytes, bytes]:
        line, rest = self._until(b"\r\n", data, 2, "a chunk is longer than it says")
        if line:
            self._step = self._chunk
        return line, rest

    def _last_line(self, data: bytes) -> tuple[bytes, bytes]:
        line, rest = self._until(b"\r\n", data, 2, "a request has more to say after its body")
        if line:
            self._end_body()
        return line, rest

    def _until(self, end: bytes, data: bytes, limit: int, complaint: str) -> tuple[bytes, bytes]:
        """Return the bytes up to and with `end`, and the rest; two empty values while `end` has not come."""
        held = self._held + data[: limit + len(end)]
        at = held.find(end)
        if at < 0 or at + len(end) > limit:
            if at >= 0 or len(held) >= limit:
                raise PermissionDenied(complaint)
            self._held = held
            return b"", b""
        whole = held[: at + len(end)]
        rest = data[len(whole) - len(self._held) :]
        self._held = b""
        return whole, rest

    def _begin_body(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if coding is not None and (coding != "chunked" or length is not None):
            raise PermissionDenied("a request's length is in doubt")
        if length is not None and not _LENGTH.fullmatch(length):
            raise PermissionDenied("a request's length is in doubt")
        self._is_chunked, self._left = coding is not None, int(length or 0)
        if method == "GET" and (self._is_chunked or self._left):
            raise PermissionDenied("a question has a body")
        self._message = None
        if target in (_MESSAGE, _SNAPSHOT):
            self._message = MessageCheck(self._member_id, self._own_id, has_length=target == _SNAPSHOT)
        if self._is_chunked:
            self._step = self._chunk
        elif self._left:
            self._step = self._body
        else:
            self._end_body()

    def _end_body(self) -> None:
        if self._message is not None:
            self._message.end()
            self._message = None
        self._step = self._head

    def _judge(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        own = f"{self._member_id:x}"
        sender = headers.get("x-server-from")
        if sender not in (None, own):
            raise PermissionDenied(f"it speaks as member {_shown(sender)}, and is {own}")
        if headers.get("x-peerurls") not in (None, peer_url(self._node_id)):
            raise PermissionDenied("it names an address that is not its own")
        if method == "GET" and target in _QUESTIONS:
            return
        if method == "GET" and target in [stream + own for stream in _STREAMS] and sender is not None:
            return
        if method == "POST" and target in (_MESSAGE, _SNAPSHOT) and sender is not None:
            return
        # A member that does not lead passes on the request to give a learner a vote.
        if method == "POST" and _PROMOTE.fullmatch(target):
            return
        raise PermissionDenied(f"{_shown(method)} {_shown(target)} is nothing that its member has to ask")


def _parsed(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Return method, target and headers (by lower-case name). Raises PermissionDenied for an ambiguous head."""
    first, *lines = head[:-4].split(b"\r\n")
    if b"\n" in head.replace(b"\r\n", b"") or b"\r" in head.replace(b"\r\n", b"") or b"\0" in head:
        raise PermissionDenied("a request cannot be read")
    words = first.split(b" ")
    if len(words) != 3 or words[2] != b"HTTP/1.1":
        raise PermissionDenied("it does not speak HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise PermissionDenied("a request's header cannot be read")
        small = name.decode("ascii").lower()
        if small in _NEVER or (small in _ONCE and small in headers):
            raise PermissionDenied(f"a request has a header {small} that it cannot have")
        headers[small] = value.decode("latin-1").strip(" \t")
    if headers.get("connection", "close").lower() not in ("close", "keep-alive"):
        raise PermissionDenied("a request has a header connection that it cannot have")
    return words[0].decode("latin-1"), words[1].decode("latin-1"), headers


def _shown(text: str | None) -> str:
    return ascii((text or "")[:100])[1:-1]
