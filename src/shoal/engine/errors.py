"""Translates errors into HTTP: `{"message": ...}` with the status that Docker uses. The only place that does so.

`RpcError` is an error of a manager as Docker shows it, with gRPC's text around its own; the manager's
`forwarding/control.py` makes it. An exception that is no `ShoalError` is a defect of Shoal: it is logged with its
traceback, and the answer has no details.
"""

import logging

from aiohttp import web

from shoal.engine.replies import json_reply
from shoal.errors import InvariantBroken, RpcError, ShoalError

__all__ = ["RpcError", "break_off", "error_reply", "reply_for"]

log = logging.getLogger(__name__)

INTERNAL_ERROR = "internal error: the daemon's log says more"


def error_reply(status: int, message: str) -> web.Response:
    """Return the answer for a failure."""
    return json_reply({"message": message}, status)


def break_off(request: web.Request, error: Exception) -> web.Response:
    """End an answer whose handler failed after its beginning was sent. The client sees that it is cut off."""
    if not isinstance(error, ConnectionError):  # the client only went away
        log.error("%s %s broke off", request.method, request.path, exc_info=error)
    if request.transport is not None:
        request.transport.close()
    return web.Response()  # for aiohttp; nobody gets it, because the connection is closed


def reply_for(error: Exception, method: str, path: str) -> web.Response:
    """Return the answer for an error that a handler raised. Defects of Shoal are logged with their traceback."""
    if isinstance(error, ShoalError):
        if error.http_status == 500:
            trace = error if isinstance(error, InvariantBroken) else None
            log.warning("%s %s failed: %s", method, path, error, exc_info=trace)
        return error_reply(error.http_status, str(error))
    if isinstance(error, web.HTTPException):  # aiohttp's own, for example for a body that is too large
        return error_reply(error.status, error.text or error.reason)
    log.error("%s %s failed", method, path, exc_info=error)
    if isinstance(error, OSError) and error.strerror:  # The user should know, for example, that the disk is full.
        where = f"{error.filename}: " if error.filename else ""
        return error_reply(500, f"{where}{error.strerror[0].lower()}{error.strerror[1:]}")
    return error_reply(500, INTERNAL_ERROR)
