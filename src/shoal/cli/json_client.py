"""Calls of `shoald`'s Engine API with an answer in JSON. The caller says whether it expects an object or a list.

In: a `Target`, a path, a query. Out: an object, a list of objects, or a CommandError. `client` has the calls below.
"""

import http.client
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shoal.cli import client
from shoal.cli.errors import CommandError
from shoal.cli.hosts import Target
from shoal.json_text import BadJson, read_json

# 100,000 tasks take about 150 MB. A longer answer is refused and not kept in memory.
LONGEST_ANSWER_BYTES = 256 * 1024 * 1024

Object = Mapping[str, Any]


class JsonClient:
    """A daemon that answers in JSON."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def one(self, path: str, headers: Mapping[str, str] | None = None) -> Object:
        """Return the object that GET answers with."""
        return self._object(self._ask("GET", path, headers=headers))

    def many(
        self, path: str, filters: Mapping[str, Sequence[str]] | None = None, query: Mapping[str, str] | None = None
    ) -> list[Object]:
        """Return the list that GET answers with. `filters` are Docker's: the values by the filter's name."""
        found = self._ask("GET", path, {**(query or {}), **({"filters": json.dumps(filters)} if filters else {})})
        if not isinstance(found, list):
            raise self._other()
        return [self._object(each) for each in found]

    def send(self, path: str, query: dict[str, str], body: Iterable[bytes], body_bytes: int | None) -> Object:
        """POST a stream and return the object in the answer. `body_bytes` is the stream's length, if it is known."""
        return self._object(self._ask("POST", path, query, body, body_bytes))

    def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Iterable[bytes] | None = None,
        body_bytes: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        with client.call(self._target, method, path, query, body, body_bytes, headers) as answer:
            try:
                return read_json(self._whole(answer), most_bytes=LONGEST_ANSWER_BYTES)
            except BadJson as error:
                raise self._other() from error

    def _whole(self, answer: http.client.HTTPResponse) -> bytes:
        chunks, size_bytes = [], 0
        for chunk in client.pieces(answer, self._target):
            size_bytes += len(chunk)
            if size_bytes > LONGEST_ANSWER_BYTES:
                raise CommandError(f"the answer of the daemon at {self._target.url} is too long: filter it")
            chunks.append(chunk)
        if answer.length:  # bytes that were announced and did not come
            raise CommandError(f"the connection to {self._target.url} ended early")
        return b"".join(chunks)

    def _object(self, found: Any) -> Object:
        if not isinstance(found, dict):
            raise self._other()
        return found

    def _other(self) -> CommandError:
        return CommandError(f"the daemon at {self._target.url} answers something else than was asked")
