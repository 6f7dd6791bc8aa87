"""Messages of etcds to one another, and a socket that answers like an etcd that is asked for its members."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
MEMBERS = b"GET /members HTTP/1.0\r\n"


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def message(sender: int, *, kind: int = 8, to: int = 1, term: int = 2, entry: bytes = b"", index: int = 0) -> bytes:
    """Return a message of Raft as etcd writes it. Kind 8 is a heartbeat."""
    fields = [(1, kind), (2, to), (3, sender), (4, term), (5, term), (6, index)]
    numbers = b"".join(bytes([field << 3]) + varint(number) for field, number in fields)
    return numbers + (bytes([7 << 3 | 2]) + varint(len(entry)) + entry if entry else b"") + b"\x40\x00"


def head(method: str, target: str, sender: int | None, **headers: str) -> bytes:
    """Return a request's head. In names of headers _ stands for -."""
    lines = [f"{method} {target} HTTP/1.1", "Host: node:1", "User-Agent: Go-http-client/1.1"]
    if sender is not None:
        lines.append(f"X-Server-From: {sender:x}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def post(sender: int, body: bytes, target: str = "/raft") -> bytes:
    return head("POST", target, sender, Content_Length=str(len(body))) + body


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back whatever comes."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def etcd(path: Path, members: Mapping[str, int], serve: Serve = echo) -> AsyncIterator[list[int]]:
    """Serve on a socket. Each connection that does not ask for the members is counted and passed to `serve`."""
    served: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readline()
        if first == MEMBERS:
            known = [{"id": number, "peerURLs": [f"unix://{name}:1"], "name": ""} for name, number in members.items()]
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(known).encode())
            await writer.drain()
            writer.close()
            return
        if first:
            served.append(0)
            reader._buffer[:0] = first  # type: ignore[attr-defined]
            await serve(reader, writer)
        else:
            writer.close()

    server = await asyncio.start_unix_server(answer, str(path))
    try:
        yield served
    finally:
        server.close()
