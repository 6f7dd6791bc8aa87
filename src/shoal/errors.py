"""The errors of Shoal. There are few: each exists because some caller treats it differently.

An error carries its HTTP and gRPC codes as class attributes. Only `shoal.engine` and `shoal.manager.port.guard` turn
them into answers. The text is shown to the user. Source of the HTTP codes: moby api/server/httpstatus, errdefs.
"""

from grpclib.const import Status

# Each gRPC code with its name as Go prints it and its HTTP status. Source: grpc codes, moby daemon/server/httpstatus.
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


class ShoalError(Exception):
    """An error that no caller treats in a special way (HTTP 500, gRPC Unknown). The base of all others."""

    http_status: int = 500
    grpc_status: Status = Status.UNKNOWN


class InvalidArgument(ShoalError):
    """The request is wrong in itself, in whatever state the swarm is."""

    http_status = 400
    grpc_status = Status.INVALID_ARGUMENT


class FailedPrecondition(ShoalError):
    """The request is valid, but the state of the object does not allow it."""

    http_status = 400
    grpc_status = Status.FAILED_PRECONDITION


class Unauthenticated(ShoalError):
    """A password or a key is missing or wrong."""

    http_status = 401
    grpc_status = Status.UNAUTHENTICATED


class PermissionDenied(ShoalError):
    """The caller is known, but is not allowed to do this."""

    http_status = 403
    grpc_status = Status.PERMISSION_DENIED


class NotFound(ShoalError):
    """There is no such object."""

    http_status = 404
    grpc_status = Status.NOT_FOUND


class Conflict(ShoalError):
    """The object exists already, or its state forbids the request."""

    http_status = 409
    grpc_status = Status.ALREADY_EXISTS


class OutOfSequence(ShoalError):
    """The given version is not the stored one. The caller must read the object again and decide again. HTTP 500, as in
    Docker.
    """

    def __init__(self, message: str = "update out of sequence") -> None:
        super().__init__(message)


class Unimplemented(ShoalError):
    """Swarm has this and Shoal does not yet, or Swarm itself refuses it."""

    http_status = 501
    grpc_status = Status.UNIMPLEMENTED


class Unavailable(ShoalError):
    """This cannot be done now: the node is no manager, there is no quorum, or the daemon is starting or stopping."""

    http_status = 503
    grpc_status = Status.UNAVAILABLE


class NoLeader(Unavailable):
    """This manager does not lead, or knows of no leader. The caller should try another manager, or try later."""

    def __init__(self, message: str = "this manager does not lead the swarm") -> None:
        super().__init__(message)


class ResourceExhausted(ShoalError):
    """The caller asks for more than one caller may have."""

    grpc_status = Status.RESOURCE_EXHAUSTED


class Aborted(ShoalError):
    """The other side gave up the call, for example because there is a new leader or a new session."""

    grpc_status = Status.ABORTED


class MissingProgram(ShoalError):
    """A program is not installed on this host. The error carries its name and the Debian package that contains it."""

    def __init__(self, program: str, package: str) -> None:
        self.program = program
        self.package = package
        super().__init__(f"{program} is not installed on this host: install the package {package}")


class DamagedState(ShoalError):
    """A file of Shoal's cannot be read. The error names it. The file is kept and never written over."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} is damaged ({reason}) and was left as it is: restore it or move it away")


class InvariantBroken(ShoalError):
    """Something happened that should be impossible. The loop that noticed it ends; containers go on."""


class RpcError(ShoalError):
    """An error that a manager answered over gRPC, with the text that Docker shows. `desc` is the manager's own text."""

    def __init__(self, status: Status, desc: str) -> None:
        code, http_status = _RPC_CODES.get(status, ("Unknown", 500))
        self.grpc_status = status
        self.http_status = http_status
        self.desc = desc
        super().__init__(f"rpc error: code = {code} desc = {desc}")
