"""How a failure reads over HTTP: `{"message": ...}` with the status Docker uses. The one place that translates.

`RpcError` is an error of a manager as Docker shows it, with gRPC's rendering around its text; `control_client` makes
it. Everything that is not a `ShoalError` is a fault of ours: it is logged with its traceback and answered neutrally.
"""

import logging

from aiohttp import web
from grpclib.const import Status

from shoal.engine.replies import json_reply
from shoal.errors import ShoalError

log = logging.getLogger(__name__)

INTERNAL_ERROR = "internal error: the daemon's log says more"

# gRPC's code as Go prints it, and the HTTP status for it. Source: grpc codes, moby daemon/server/httpstatus.
_RPC_CODES = {
    Status.CANCELLED: ("Canceled", 500),
    Status.UNKNOWN: ("Unknown", 500),
    Status.INVALID_ARGUMENT: ("InvalidArgument", 400),
    Status.DEADLINE_EXCEEDED: ("DeadlineExceeded", 500),
    Status.NOT_FOUND: ("NotFound", 404),
    Status.ALREADY_EXISTS: ("AlreadyExists", 409),
    Status.PERMISSION_DENIED: ("PermissionDenied", 403),
    Status.RESOURCE_EXHAUSTED: ("ResourceExhausted", 500),
    Status.FAILED_PRECONDITION: ("FailedPrecondition", 400),
    Status.ABORTED: ("Aborted", 500),
    Status.OUT_OF_RANGE: ("OutOfRange", 400),
    Status.UNIMPLEMENTED: ("Unimplemented", 501),
    Status.INTERNAL: ("Internal", 500),
    Status.UNAVAILABLE: ("Unavailable", 503),
    Status.DATA_LOSS: ("DataLoss", 500),
    Status.UNAUTHENTICATED: ("Unauthenticated", 401),
}


class RpcError(ShoalError):
    """An error that came from a manager. `desc` is its bare text."""

    def __init__(self, status: Status, desc: str) -> None:
        code, http_status = _RPC_CODES.get(status, ("Unknown", 500))
        self.grpc_status = status
        self.http_status = http_status
        self.desc = desc
        super().__init__(f"rpc error: code = {code} desc = {desc}")


def error_reply(status: int, message: str) -> web.Response:
    """Return the answer for a failure."""
    return json_reply({"message": message}, status)


def break_off(request: web.Request, error: Exception) -> web.Response:
    """End an answer that had begun when its handler failed: the client sees it cut, not a second answer in it."""
    if not isinstance(error, ConnectionError):  # That the client went away is no news.
        log.error("%s %s broke off", request.method, request.path, exc_info=error)
    if request.transport is not None:
        request.transport.close()
    return web.Response()  # Goes nowhere: the connection is closed.


def reply_for(error: Exception, method: str, path: str) -> web.Response:
    """Return the answer for an error that a handler raised; what is a fault of ours goes to the log, whole."""
    if isinstance(error, ShoalError):
        if error.http_status == 500:
            log.warning("%s %s failed: %s", method, path, error)
        return error_reply(error.http_status, str(error))
    if isinstance(error, web.HTTPException):  # aiohttp's own: a body that is too large, say
        return error_reply(error.status, error.text or error.reason)
    log.error("%s %s failed", method, path, exc_info=error)
    if isinstance(error, OSError) and error.strerror:  # What the host refuses is for its owner to know: a full disk.
        where = f"{error.filename}: " if error.filename else ""
        return error_reply(500, f"{where}{error.strerror[0].lower()}{error.strerror[1:]}")
    return error_reply(500, INTERNAL_ERROR)
