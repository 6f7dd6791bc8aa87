"""A runtime's errors become Docker's."""

import pytest

from shoal.runtime.failures import exec_failed, reason, start_failed


@pytest.mark.parametrize(
    ("said", "command", "why", "code"),
    [
        (
            "executable file `nosuch` not found in $PATH: No such file or directory",
            "nosuch", 'exec: "nosuch": executable file not found in $PATH', 127,
        ),
        (
            "executable file `/bin/x` not found in $PATH: No such file or directory",
            "/bin/x", 'exec: "/bin/x": stat /bin/x: no such file or directory', 127,
        ),
        ("open executable: Permission denied", "/etc", 'exec: "/etc": permission denied', 126),
        (
            'time="t" level=error msg="runc create failed: unable to start container process: exec: \\"x\\": '
            'executable file not found in $PATH"',
            "x", 'exec: "x": executable file not found in $PATH', 127,
        ),
        (
            'time="t" level=error msg="runc create failed: unable to start container process: error during container '
            'init: exec: \\"x\\": executable file not found in $PATH"',
            "x", 'exec: "x": executable file not found in $PATH', 127,
        ),
        (
            'msg="runc create failed: unable to start container process: exec: \\"/etc\\": is a directory"',
            "/etc", 'exec: "/etc": is a directory', 126,
        ),
        (
            "executable file `/x` not found: No such file or directory",
            "/x", 'exec: "/x": stat /x: no such file or directory', 127,
        ),
        ("open executable: Operation not permitted", "/etc", 'exec: "/etc": permission denied', 126),
        (
            "the path `/etc` is not a regular file: Operation not permitted",
            "/etc", 'exec: "/etc": permission denied', 126,
        ),
        (
            "the path `/x` exists but it is not executable: Operation not permitted",
            "/x", 'exec: "/x": permission denied', 126,
        ),
        ("open executable: Operation not permitted", "", 'exec: "": executable file not found in $PATH', 127),
        ("cannot find `` in $PATH: No such file or directory", "", 'exec: "": executable file not found in $PATH', 127),
        ("open executable: Not a directory", "/f/x", 'exec: "/f/x": stat /f/x: not a directory', 127),
        ("cannot open `/f/x`: Not a directory", "/f/x", 'exec: "/f/x": stat /f/x: not a directory', 127),
        ("open `/f/x`: Not a directory", "/f/x", 'exec: "/f/x": stat /f/x: not a directory', 127),
        (
            "chdir `/nope`: No such file or directory",
            "x", 'chdir to cwd ("/nope") set in config.json failed: no such file or directory', 128,
        ),
        ("open executable: Operation not permitted", "/tmp", 'exec: "/tmp": permission denied', 126),
        (
            "open executable: Not a directory",
            "/etc/passwd/x", 'exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory', 127,
        ),
        (
            "chdir `/etc/passwd`: Not a directory",
            "x", 'chdir to cwd ("/etc/passwd") set in config.json failed: not a directory', 127,
        ),
        ("chdir `/a`: Permission denied", "x", 'chdir to cwd ("/a") set in config.json failed: permission denied', 126),
        ("mount `a` to `b`: Invalid argument\n", "x", "mount `a` to `b`: Invalid argument", 128),
        ("", "x", "the runtime ended without a word", 128),
    ],
)  # fmt: skip
def test_reasons(said: str, command: str, why: str, code: int) -> None:
    assert reason(said, command) == (why, code)


def test_a_start_is_told_in_full() -> None:
    error = start_failed("crun", "executable file `x` not found in $PATH: No such file or directory", "x")
    assert str(error) == (
        "failed to create task for container: failed to create shim task: OCI runtime create failed: crun create "
        'failed: unable to start container process: exec: "x": executable file not found in $PATH: unknown'
    )
    assert (error.exit_code, error.http_status) == (127, 400)
    assert start_failed("crun", "odd", "x").http_status == 500


def test_what_is_no_folder_is_told_with_dockers_hint() -> None:
    error = start_failed("crun", "open executable: Not a directory", "/etc/passwd/x")
    assert str(error).endswith(
        "not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? "
        "Check if the specified host path exists and is the expected type"
    )
    assert (error.exit_code, error.http_status) == (127, 400)


def test_an_exec_that_cannot_be_begins_with_126() -> None:
    assert exec_failed("chdir `/nope`: No such file or directory", "true") == (
        "OCI runtime exec failed: exec failed: unable to start container process: "
        'chdir to cwd ("/nope") set in config.json failed: no such file or directory: unknown',
        126,
    )


def test_an_exec_is_told_in_full() -> None:
    assert exec_failed("open executable: Permission denied", "x") == (
        "OCI runtime exec failed: exec failed: unable to start container process: "
        'exec: "x": permission denied: unknown',
        126,
    )


@pytest.mark.parametrize(
    "said", ["chdir `/nope`: No such file or directory", "chdir to `/nope`: No such file or directory"]
)
def test_an_exec_that_cannot_be_started_is_126_whatever_the_reason(said: str) -> None:
    assert exec_failed(said, "sh") == (
        "OCI runtime exec failed: exec failed: unable to start container process: "
        'chdir to cwd ("/nope") set in config.json failed: no such file or directory: unknown',
        126,
    )
