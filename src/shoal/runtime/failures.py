"""Translates the OCI runtime's reasons why a container did not start into Docker's texts. Pure."""

import json
import re

from shoal.errors import ShoalError

COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE, FAILED = 127, 126, 128

# crun's words, of 1.8 (Debian 12), 1.21 (13) and 1.28; where a text changed, each.
_CRUN_NOT_FOUND = re.compile(r"executable file `[^`]*` not found|cannot find `[^`]*` in \$PATH")
_CRUN_NO_FOLDER = re.compile(r"open executable: Not a directory|(?:cannot )?open `[^`]*`: Not a directory")
# Of what is a folder, and of what has no x: 1.8 says "not permitted" and "denied", later ones what it is.
_CRUN_DENIED = re.compile(
    r"open executable(?: `[^`]*`)?: (?:Permission denied|Operation not permitted)"
    r"|exec(?: container process)?(?: `[^`]*`)?: Permission denied"
    r"|the path `[^`]*` (?:exists but it is not executable|is not a regular file)"
)
_CRUN_CWD = re.compile(r"chdir (?:to )?`([^`]*)`: (.*)")
# runc 1.3 says first where it was.
_RUNC_STAGES = ("unable to start container process: ", "error during container init: ")

# moby daemon/errors.go says so wherever a folder is missing.
_HINT = (
    ": Are you trying to mount a directory onto a file (or vice-versa)? "
    "Check if the specified host path exists and is the expected type"
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
    # An empty command is looked up like any other; crun 1.8 takes it for the root.
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
    """The error of a start, in the nesting of texts that Docker shows and clients search."""
    why, code = reason(text, command)
    return StartFailed(
        "failed to create task for container: failed to create shim task: OCI runtime create failed: "
        f"{runtime} create failed: unable to start container process: {why}: unknown{_hint(why)}",
        code,
    )


def exec_failed(text: str, command: str) -> tuple[str, int]:
    """What an exec whose command could not be started shows, and its exit code: 126 where nothing else is known."""
    why, code = reason(text, command)
    said = f"OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown{_hint(why)}"
    return said, COMMAND_NOT_EXECUTABLE if code == FAILED else code  # Docker's for all else (moby daemon/exec.go)


def _hint(why: str) -> str:
    return _HINT if "not a directory" in why.lower() else ""


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
    for stage in _RUNC_STAGES:
        said = said.removeprefix(stage)
    return said
