"""Certificates for a daemon on TCP, made with openssl as in Docker's own guide."""

from pathlib import Path

from tests.harness.hosts import run


class Authority:
    """A certificate authority in a folder of its own. Its files have the names that the docker command expects."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.certificate = folder / "ca.pem"
        run(
            "openssl",
            "req",
            "-x509",
            "-days",
            "2",
            "-subj",
            "/CN=authority",
            *self._key("ca"),
            "-out",
            "ca.pem",
            cwd=folder,
        )

    @staticmethod
    def _key(name: str) -> list[str]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}-key.pem"]

    def issue(self, name: str, usage: str, addresses: str = "IP:127.0.0.1") -> tuple[Path, Path]:
        """Make a certificate for `clientAuth` or `serverAuth`. Returns its file and its key's file."""
        run("openssl", "req", "-subj", f"/CN={name}", *self._key(name), "-out", f"{name}.csr", cwd=self.folder)
        (self.folder / f"{name}.ext").write_text(f"extendedKeyUsage={usage}\nsubjectAltName={addresses}\n")
        signing = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2")
        files = ("-in", f"{name}.csr", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        run("openssl", "x509", "-req", *signing, *files, cwd=self.folder)
        return self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
