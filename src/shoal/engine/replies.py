"""Answers in Docker's forms: JSON with a newline at the end, and answers without a body."""

import json
from typing import Any

from aiohttp import web

# Like Go's encoder without HTML escapes: no spaces, UTF-8.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)
JSON_TYPE = "application/json"


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON in Docker's format, without the newline."""
    return _ENCODER.encode(value).encode("utf-8", "replace")


def json_reply(value: Any, status: int = 200) -> web.Response:
    """Return a JSON answer."""
    return encoded_reply(json_bytes(value), status)


def encoded_reply(body: bytes, status: int = 200) -> web.Response:
    """Return an answer whose JSON is already encoded."""
    return web.Response(body=body + b"\n", status=status, headers={"Content-Type": JSON_TYPE})


def empty_reply(status: int = 200) -> web.Response:
    """Return an answer without a body: 200, 201 or 204."""
    return web.Response(status=status)
