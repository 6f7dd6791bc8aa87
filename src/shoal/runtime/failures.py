"""Translates an OCI runtime's reason for a failed start into Docker's text. Pure."""

import re

from shoal.errors import ShoalError
from shoal.json_text import read_json

COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE, FAILED = 127, 126, 128

# The texts of crun 1.8 (Debian 12), 1.21 (Debian 13) and 1.28.
_CRUN_NOT_FOUND = re.compile(r"executable file `[^`]*` not found|cannot find `[^`]*` in \$PATH")
_CRUN_NO_FOLDER = re.compile(r"open executable: Not a directory|(?:cannot )?open `[^`]*`: Not a directory")
# For a folder, and for a file that is not executable. 1.8 says "not permitted" and "denied"; later ones say what it is.
_CRUN_DENIED = re.compile(
    r"open executable(?: `[^`]*`)?: (?:Permission denied|Operation not permitted)"
    r"|exec(?: container process)?(?: `[^`]*`)?: Permission denied"
    r"|the path `[^`]*` (?:exists but it is not executable|is not a regular file)"
)
_CRUN_CWD = re.compile(r"chdir (?:to )?`([^`]*)`: (.*)")
# runc 1.3 begins with the stage of the start.
_RUNC_STAGES = ("unable to start container process: ", "error during container init: ")

# moby daemon/errors.go adds this whenever something is not a directory.
_HINT = (
    ": Are you trying to mount a directory onto a file (or vice-versa)? "
    "Check if the specified host path exists and is the expected type"
)


class StartFailed(ShoalError):
    """The container's process could not be started. `exit_code` is the container's exit code in Docker."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        self.exit_code = exit_code
        # In Docker, a command that is not in the image is the caller's mistake (moby daemon/errors.go).
        self.http_status = 400 if exit_code in (COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE) else 500
        super().__init__(message)


def reason(text: str, command: str) -> tuple[str, int]:
    """Return a runtime's reason in the words of runc, and Docker's exit code for it."""
    said = _message(text)
    # Docker looks up an empty command like any other; crun 1.8 takes it for the root folder.
    if _CRUN_NOT_FOUND.search(said) or (not command and _CRUN_DENIED.search(said)):
        if "/" in command:
            return f'exec: "{command}": stat {command}: no such file or directory', COMMAND_NOT_FOUND
        return f'exec: "{command}": executable file not found in $PATH', COMMAND_NOT_FOUND
    if _CRUN_NO_FOLDER.search(said):
        said = f'exec: "{command}": stat {command}: not a directory'
    if refused := _CRUN_CWD.search(said):
        said = f'chdir to cwd ("{refused[1]}") set in config.json failed: {refused[2].lower()}'
    if "not a directory" in said.lower():
        return said, COMMAND_NOT_FOUND
    if said.startswith("chdir to cwd") and "permission denied" in said:
        return said, COMMAND_NOT_EXECUTABLE
    if _CRUN_DENIED.search(said):
        return f'exec: "{command}": permission denied', COMMAND_NOT_EXECUTABLE
    if said.startswith("exec: "):
        if "permission denied" in said or "is a directory" in said:
            return said, COMMAND_NOT_EXECUTABLE
        if "not found" in said or "no such file" in said or "not a directory" in said:
            return said, COMMAND_NOT_FOUND
    return said or "the runtime ended without a word", FAILED


def start_failed(runtime: str, text: str, command: str) -> StartFailed:
    """Return the error of a start, with the prefixes that Docker shows and clients search for."""
    why, code = reason(text, command)
    return StartFailed(
        "failed to create task for container: failed to create shim task: OCI runtime create failed: "
        f"{runtime} create failed: unable to start container process: {why}: unknown{_hint(why)}",
        code,
    )


def exec_failed(text: str, command: str) -> tuple[str, int]:
    """Return the text and exit code of an exec whose command could not be started."""
    why, code = reason(text, command)
    said = f"OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown{_hint(why)}"
    return said, COMMAND_NOT_EXECUTABLE if code == FAILED else code  # as Docker's (moby daemon/exec.go)


def _hint(why: str) -> str:
    return _HINT if "not a directory" in why.lower() else ""


def _message(text: str) -> str:
    """Return the last line of a runtime's log, without log formatting and prefixes."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return ""
    said = lines[-1].strip()
    dressed = re.search(r'msg=("(?:[^"\\]|\\.)*")', said)
    if dressed:
        try:
            said = str(read_json(dressed.group(1)))
        except ValueError:
            said = dressed.group(1).strip('"')
    said = re.sub(r"^(runc|crun) (create|run|exec) failed: ", "", said)
    said = said.removeprefix("exec failed: ")
    for stage in _RUNC_STAGES:
        said = said.removeprefix(stage)
    return said
