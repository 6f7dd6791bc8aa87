"""Resolvers as containers use them, in a network namespace, and name servers outside."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.hosts import eventually, run

# The records of a server outside, besides outside.test and the 200 addresses of many.test. It answers NXDOMAIN to the
# rest of .test.
_KNOWN = (
    "--txt-record=text.test,hello",
    "--mx-host=mail.test,mx.test,10",
    "--cname=other.test,outside.test",
    "--ptr-record=9.2.0.192.in-addr.arpa,nine.test",
    "--local=/test/",
    "--local=/hidden/",  # 2.91 refuses a name of one label over TCP, though not over UDP
    "--local=/in-addr.arpa/",
)
MANY = [f"192.0.3.{last}" for last in range(200)]

# Musl's resolver: a program that calls getaddrinfo and prints one address a line.
_MUSL = r"""
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
int main(int count, char **words) {
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *found;
    int failed = getaddrinfo(words[1], 0, &wanted, &found);
    if (failed) { puts(gai_strerror(failed)); return 1; }
    for (; found; found = found->ai_next) {
        char text[64];
        void *address = found->ai_family == AF_INET
            ? (void *)&((struct sockaddr_in *)found->ai_addr)->sin_addr
            : (void *)&((struct sockaddr_in6 *)found->ai_addr)->sin6_addr;
        puts(inet_ntop(found->ai_family, address, text, sizeof text));
    }
}
"""
GLIBC = "import socket,sys\nfor one in socket.getaddrinfo(sys.argv[1], None, type=socket.SOCK_STREAM): print(one[4][0])"


def musl_program(folder: Path) -> Path:
    """Compile the program, with its libc linked in."""
    source, made = folder / "musl.c", folder / "musl"
    source.write_text(_MUSL)
    run("musl-gcc", "-static", "-o", str(made), str(source))
    return made


@dataclass(frozen=True)
class Dug:
    """The answer that dig showed. `records`: type and data, without names and times."""

    status: str
    flags: frozenset[str]
    records: frozenset[tuple[str, str]]
    ttls: frozenset[str]
    tcp: bool
    edns: bool


def dig(netns: str, *words: str, server: str = "127.0.0.11") -> Dug:
    """Ask with dig, which tries once and for 15 s."""
    text = run("nsenter", f"--net={netns}", "dig", f"@{server}", "+tries=1", "+timeout=15", *words).stdout
    status = re.search(r"status: (\w+)", text)
    flags = re.search(r"flags: ([\w ]*);", text)
    assert status, text
    assert flags, text
    rows = [
        line.split(None, 4)
        for line in text.partition("ANSWER SECTION:")[2].partition("\n\n")[0].splitlines()
        if line and not line.startswith(";")
    ]
    return Dug(
        status[1],
        frozenset(flags[1].split()),
        frozenset((row[3], row[4]) for row in rows),
        frozenset(row[1] for row in rows),
        "(TCP)" in text,
        "OPT PSEUDOSECTION" in text,
    )


def resolve(netns: str, conf: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program with this text as its /etc/resolv.conf."""
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return run(
        *("nsenter", f"--net={netns}", "unshare", "--mount", "sh", "-c", script, str(conf), *command), check=False
    )


@contextmanager
def dnsmasq(namespace: str, folder: Path, addresses: Sequence[str], *options: str) -> Iterator[None]:
    """A real DNS server, in a host's network namespace."""
    hosts = folder / "many.hosts"
    hosts.write_text("192.0.2.7 outside.test\n" + "".join(f"{address} many.test\n" for address in MANY))
    process = subprocess.Popen(
        [
            *("nsenter", f"--net=/run/netns/{namespace}", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null"),
            *("--no-resolv", "--no-hosts", f"--addn-hosts={hosts}", "--bind-interfaces", "--domain-needed"),
            *("--pid-file=", "--user=root", "--log-facility=-", *_KNOWN, *options),
            *(f"--listen-address={address}" for address in addresses),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        netns = f"/run/netns/{namespace}"
        eventually(
            lambda: run(
                "nsenter", f"--net={netns}", "dig", f"@{addresses[0]}", "outside.test", "+short", check=False
            ).stdout.startswith("192.0.2.7"),
            "dnsmasq answers",
        )
        yield
    finally:
        process.terminate()
        process.wait(60)
