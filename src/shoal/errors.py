"""The errors of Shoal: few, each because some caller acts differently on it.

An error carries its HTTP and gRPC codes as class attributes; `shoal.engine` and `shoal.manager.port.guard` are the two
places that translate. The text is what a person sees. Source of the HTTP codes: moby api/server/httpstatus, errdefs.
"""

from grpclib.const import Status

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


class ShoalError(Exception):
    """Something went wrong that nobody acts on in a special way (HTTP 500, gRPC Unknown)."""

    http_status: int = 500
    grpc_status: Status = Status.UNKNOWN


class InvalidArgument(ShoalError):
    """The request itself is wrong, whatever the state of the swarm."""

    http_status = 400
    grpc_status = Status.INVALID_ARGUMENT


class FailedPrecondition(ShoalError):
    """The request is right, the state of the object does not allow it."""

    http_status = 400
    grpc_status = Status.FAILED_PRECONDITION


class Unauthenticated(ShoalError):
    """A password or a key is missing or wrong."""

    http_status = 401
    grpc_status = Status.UNAUTHENTICATED


class PermissionDenied(ShoalError):
    """The caller is known and may not."""

    http_status = 403
    grpc_status = Status.PERMISSION_DENIED


class NotFound(ShoalError):
    """There is no such object."""

    http_status = 404
    grpc_status = Status.NOT_FOUND


class Conflict(ShoalError):
    """The object exists already, or is in a state that forbids this."""

    http_status = 409
    grpc_status = Status.ALREADY_EXISTS


class OutOfSequence(ShoalError):
    """The version given is not the stored one: read again, decide again. Docker answers 500."""

    def __init__(self, message: str = "update out of sequence") -> None:
        super().__init__(message)


class Unimplemented(ShoalError):
    """Swarm has this, we do not yet, or Swarm refuses it itself."""

    http_status = 501
    grpc_status = Status.UNIMPLEMENTED


class Unavailable(ShoalError):
    """Not now: no manager here, no quorum, starting or stopping."""

    http_status = 503
    grpc_status = Status.UNAVAILABLE


class NoLeader(Unavailable):
    """No manager leads that this one knows of, or it is asked to lead and does not: try another, or later."""

    def __init__(self, message: str = "this manager does not lead the swarm") -> None:
        super().__init__(message)


class ResourceExhausted(ShoalError):
    """The caller asks for more than one may have."""

    grpc_status = Status.RESOURCE_EXHAUSTED


class Aborted(ShoalError):
    """The other side gave the call up: a new leader, a new session."""

    grpc_status = Status.ABORTED


class MissingProgram(ShoalError):
    """A host program is not installed. Carries its name and the Debian package that has it."""

    def __init__(self, program: str, package: str) -> None:
        self.program = program
        self.package = package
        super().__init__(f"{program} is not installed on this host: install the package {package}")


class DamagedState(ShoalError):
    """A file of ours does not say what it must. It is named, kept, and never written over."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} is damaged ({reason}) and was left as it is: restore it or move it away")


class InvariantBroken(ShoalError):
    """A thing that cannot be, is: the loop that saw it ends, the containers do not."""


class RpcError(ShoalError):
    """An error that came from a manager by gRPC, as Docker shows it. `desc` is its bare text."""

    def __init__(self, status: Status, desc: str) -> None:
        code, http_status = _RPC_CODES.get(status, ("Unknown", 500))
        self.grpc_status = status
        self.http_status = http_status
        self.desc = desc
        super().__init__(f"rpc error: code = {code} desc = {desc}")
