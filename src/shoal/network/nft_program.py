"""nft, the program, for tables that seldom change. Blocking.

What changes all the time has libnftables in its process (`kernel/nftables`).
"""

import subprocess

from shoal.errors import ShoalError
from shoal.host import programs

TIMEOUT = 30.0  # seconds; it waits for other programs that change rules


def write(text: str, whose: str) -> None:
    """Carry out a text of nft's language, all or nothing. ShoalError with nft's words, which says `whose` rules."""
    done = _run("-f", "-", text=text)
    if done.returncode != 0:
        raise ShoalError(f"nft refused the rules of {whose}: {done.stderr.decode(errors='replace').strip()}")


def listing(family: str, table: str) -> str:
    """Return a table as nft shows it; empty where there is none. ShoalError."""
    done = _run("list", "table", family, table)
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def _run(*arguments: str, text: str = "") -> "subprocess.CompletedProcess[bytes]":
    command = [programs.find("nft"), *arguments]
    try:
        return subprocess.run(command, input=text.encode(), capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise ShoalError(f"nft does not end: it was killed after {TIMEOUT:g} s") from error
