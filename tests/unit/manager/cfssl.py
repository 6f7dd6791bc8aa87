"""An external CA for tests: an HTTPS server with CFSSL's sign API, which admits nodes by their certificates.

`python -m tests.unit.manager.cfssl FOLDER` serves with FOLDER's ca.crt and ca.key, admits clients with a certificate of
a root in clients.crt, writes its address to the file url, and ends when its standard input ends.
"""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from shoal.ca.csr import new_key
from shoal.ca.root import RootCA, key_to_pem, load_key
from shoal.files import write_atomic

_PARTS = {"O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME}


@dataclass
class ExternalCA:
    """Signs with a root's key. `answer` replaces the answer: a status and a body."""

    root: RootCA
    url: str = ""
    answer: tuple[int, bytes] | None = None
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    asked_again: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        """Sign as cfssl does, with names and extensions from the request's JSON, and the key from its CSR."""
        assert request.transport is not None
        shown = request.transport.get_extra_info("peercert")
        names = dict(part for relative in shown["subject"] for part in relative)
        body = await request.json()
        self.asked.append((names["commonName"], body))
        if len(self.asked) > 1:
            self.asked_again.set()
        if self.answer is not None:
            return web.Response(status=self.answer[0], body=self.answer[1])
        certificate = self._sign(body).public_bytes(Encoding.PEM).decode()
        return web.json_response(
            {"success": True, "result": {"certificate": certificate}, "errors": [], "messages": []}
        )

    def _sign(self, body: dict[str, Any]) -> x509.Certificate:
        request = x509.load_pem_x509_csr(body["certificate_request"].encode())
        assert request.is_signature_valid
        root = self.root.certificates[0]
        names = [
            x509.NameAttribute(_PARTS[part], text) for each in body["subject"]["names"] for part, text in each.items()
        ]
        subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, body["subject"]["CN"])])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder(root.subject, subject, request.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=body["profile"] == "CA", path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)  # type: ignore[arg-type]
        )
        if body["hosts"]:
            hosts = x509.SubjectAlternativeName([x509.DNSName(host) for host in body["hosts"]])
            builder = builder.add_extension(hosts, critical=False)
        return builder.sign(load_key(self.root.key_pem), hashes.SHA256())


@asynccontextmanager
async def external_ca(root: RootCA, folder: Path, clients: bytes = b"") -> AsyncIterator[ExternalCA]:
    """Serve while the context lasts, with a server certificate of the same root. Only nodes of this root and of
    `clients` are admitted.
    """
    made = ExternalCA(root)
    app = web.Application()
    app.router.add_post("/api/v1/cfssl/sign", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_context(root, folder, clients))
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        made.url = f"https://127.0.0.1:{port}/api/v1/cfssl/sign"
        yield made
    finally:
        await runner.cleanup()


def _context(root: RootCA, folder: Path, clients: bytes) -> ssl.SSLContext:
    key, ca = new_key(), root.certificates[0]
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an external CA")])
    certificate = (
        x509.CertificateBuilder(ca.subject, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False)  # type: ignore[arg-type]
        .sign(load_key(root.key_pem), hashes.SHA256())
    )
    path = folder / f"{certificate.serial_number}.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + key_to_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.load_verify_locations(cadata=(root.certs_pem + clients).decode())
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def _serve(folder: Path) -> None:
    root = RootCA((folder / "ca.crt").read_bytes(), (folder / "ca.key").read_bytes())
    async with external_ca(root, folder, (folder / "clients.crt").read_bytes()) as made:
        write_atomic(folder / "url", made.url.encode())
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
