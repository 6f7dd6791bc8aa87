"""A unix socket in front of another one, which can lose requests and answers. It only understands HTTP/2's frames."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

_PREFACE_BYTES = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
_HEADER_BYTES = 9
_DATA = 0


class FaultySocket:
    """Forwards, unless told otherwise: `lose_request` and `lose_answer` cut the connection at the next one, once."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self.lose_request = False
        self.lose_answer = False
        self.refuse_after_loss = False
        self.refusing = False
        self.lost = 0

    @classmethod
    @asynccontextmanager
    async def on(cls, socket: Path, target: Path) -> AsyncIterator[Self]:
        """Listen on a socket while the context lasts."""
        faulty = cls(target)
        server = await asyncio.start_unix_server(faulty._serve, socket)
        try:
            yield faulty
        finally:
            server.close()
            faulty._cut()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self.refusing:
                return
            try:
                far_reader, far_writer = await asyncio.open_unix_connection(self._target)
            except OSError:
                return
            self._writers.add(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer, "lose_request", _PREFACE_BYTES))
                group.create_task(self._pump(far_reader, writer, "lose_answer", 0))
        finally:
            self._cut()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: str, skip: int) -> None:
        try:
            if skip:
                writer.write(await reader.readexactly(skip))
            while True:
                header = await reader.readexactly(_HEADER_BYTES)
                body = await reader.readexactly(int.from_bytes(header[:3], "big"))
                if header[3] == _DATA and body and getattr(self, fault):
                    setattr(self, fault, False)
                    self.lost += 1
                    self.refusing = self.refuse_after_loss
                    return
                writer.write(header + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._cut()

    def _cut(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers.clear()
