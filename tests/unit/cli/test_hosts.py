import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shoal.api import v1 as api
from shoal.ca.csr import make_csr, new_key
from shoal.ca.root import create_root, key_to_pem
from shoal.cli.errors import CommandError
from shoal.cli.hosts import TLSFiles, find

NONE = TLSFiles()


def test_a_flag_goes_before_the_variable_and_that_before_this_hosts_socket() -> None:
    there = {"DOCKER_HOST": "unix:///there"}
    assert find("unix:///here", NONE, there).socket == "/here"
    assert find("", NONE, there).socket == "/there"
    assert find("", NONE, {}).socket == "/run/shoal/shoal.sock"


@pytest.mark.parametrize(
    ("url", "address", "port"),
    [
        ("tcp://10.0.0.1:2500", "10.0.0.1", 2500),
        ("tcp://10.0.0.1", "10.0.0.1", 2375),
        ("tcp://[fd00::1]:2500/", "fd00::1", 2500),
        ("tcp://[fd00::1]", "fd00::1", 2375),
        ("host:1", "host", 1),
    ],
)
def test_tcp_has_an_address_and_a_port(url: str, address: str, port: int) -> None:
    found = find(url, NONE, {})
    assert (found.address, found.port, found.tls) == (address, port, None)


@pytest.mark.parametrize("url", ["ssh://x", "unix://relative", "tcp://", "tcp://x:0", "tcp://x:66000", "tcp://x:y"])
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(CommandError, match="is no daemon's address: give unix:///path or tcp://address:port"):
        find(url, NONE, {})


def test_tls_files_are_found_as_dockers_command_finds_them(tmp_path: Path) -> None:
    root, key = create_root(datetime.now(UTC).timestamp() - timedelta(days=1).total_seconds()), new_key()
    chain = root.issue(make_csr(key), "n" * 25, api.WORKER, "c" * 25, now=datetime.now(UTC).timestamp())
    for name, content in (("ca", root.certs_pem), ("cert", chain), ("key", key_to_pem(key))):
        (tmp_path / f"{name}.pem").write_bytes(content)
    found = find("tcp://x", NONE, {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)})
    assert found.tls is not None
    assert found.port == 2376
    files = TLSFiles(True, *(str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")))
    context = find("tcp://x", files, {}).tls
    assert context is not None
    assert context.verify_mode == ssl.CERT_REQUIRED
    # Docker's own instructions make a CA without a key usage, and Docker's command accepts it.
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_tls_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"ca.pem, .*cert.pem and .*key.pem cannot be used: no such file"):
        find("tcp://x", TLSFiles(verify=True), {"DOCKER_CERT_PATH": str(tmp_path)})
