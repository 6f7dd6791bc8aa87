"""The daemon starts without loading the web's certificate authorities. Its programs and later TLS contexts have
them.
"""

import os
import ssl
import subprocess
import sys

import pytest

from shoal.daemon.loading import no_authorities


def test_contexts_made_meanwhile_trust_nobody_and_later_ones_whom_the_host_trusts() -> None:
    with no_authorities():
        assert ssl.create_default_context().get_ca_certs() == []
    trusted = len(ssl.create_default_context().get_ca_certs())
    assert trusted == len(ssl.create_default_context(cafile=ssl.get_default_verify_paths().cafile).get_ca_certs())


def test_environment_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/mine.pem")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    before = dict(os.environ)
    with no_authorities():
        assert os.environ["SSL_CERT_FILE"] == os.devnull
    assert dict(os.environ) == before


def test_ending_containers_takes_no_daemon() -> None:
    look = (
        "import sys, shoal.daemon.main; print([name for name in ('aiohttp', 'shoal.node.node') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_daemon_imports_aiohttp_that_way() -> None:
    look = (
        "from shoal.daemon import daemon; daemon._import_serving(); import aiohttp.connector as c; "
        "print(len(c._SSL_CONTEXT_VERIFIED.get_ca_certs()))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
