"""Why a container did not start: the runtime's own words turned into Docker's. Pure but for the error type."""

import json
import re

from shoal.errors import ShoalError

COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE, FAILED = 127, 126, 128

_CRUN_NOT_FOUND = re.compile(r"executable file `([^`]*)` not found")
_CRUN_DENIED = re.compile(
    r"open executable(?: `([^`]*)`)?: Permission denied|exec(?: container process)?(?: `[^`]*`)?: Permission denied"
)


class StartFailed(ShoalError):
    """The container's process could not be started. `exit_code` is what Docker gives the container for it."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        self.exit_code = exit_code
        # Docker calls a command that is not in the image the caller's mistake (moby daemon/errors.go).
        self.http_status = 400 if exit_code in (COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE) else 500
        super().__init__(message)


def reason(text: str, command: str) -> tuple[str, int]:
    """What a runtime said, as runc would have said it, and the exit code that Docker gives it."""
    said = _message(text)
    if _CRUN_NOT_FOUND.search(said):
        if "/" in command:
            return f'exec: "{command}": stat {command}: no such file or directory', COMMAND_NOT_FOUND
        return f'exec: "{command}": executable file not found in $PATH', COMMAND_NOT_FOUND
    if _CRUN_DENIED.search(said):
        return f'exec: "{command}": permission denied', COMMAND_NOT_EXECUTABLE
    if said.startswith("exec: "):
        if "permission denied" in said:
            return said, COMMAND_NOT_EXECUTABLE
        if "not found" in said or "no such file" in said:
            return said, COMMAND_NOT_FOUND
    return said or "the runtime ended without a word", FAILED


def start_failed(runtime: str, text: str, command: str) -> StartFailed:
    """The error of a start, in the nesting of texts that Docker shows and clients search."""
    why, code = reason(text, command)
    return StartFailed(
        "failed to create task for container: failed to create shim task: OCI runtime create failed: "
        f"{runtime} create failed: unable to start container process: {why}: unknown",
        code,
    )


def exec_failed(text: str, command: str) -> tuple[str, int]:
    """What an exec whose command could not be started shows, and its exit code."""
    why, code = reason(text, command)
    return f"OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown", code


def _message(text: str) -> str:
    """The last thing said, without runc's log dressing."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return ""
    said = lines[-1].strip()
    dressed = re.search(r'msg=("(?:[^"\\]|\\.)*")', said)
    if dressed:
        try:
            said = str(json.loads(dressed.group(1)))
        except ValueError:
            said = dressed.group(1).strip('"')
    said = re.sub(r"^(runc|crun) (create|run|exec) failed: ", "", said)
    said = said.removeprefix("exec failed: ")
    return said.removeprefix("unable to start container process: ")
