import json

import pytest
from cryptography import x509

from shoal.api import v1 as api
from shoal.ca.csr import make_csr, new_key
from shoal.ca.identity import public_key_der, read_chain
from shoal.ca.root import create_root
from shoal.errors import InvalidArgument
from shoal.manager.certificates.external_ca import (
    ExternalCARefused,
    ExternalCAUnreachable,
    certificate_of,
    cross_sign_request,
    node_request,
    signing_urls,
    trusted_pem,
    urls_for,
)
from tests.unit.ca.swarms import NOW

OLD, NEXT = create_root(NOW), create_root(NOW)
CSR = make_csr(new_key())


def external(url: str, root: bytes = b"") -> api.ExternalCA:
    return api.ExternalCA(url=url, ca_cert=root)


def test_each_root_has_its_own_external_cas() -> None:
    all_of_them = [
        external("first"), external("old", b"# a note\n" + OLD.certs_pem), external("next", NEXT.certs_pem),
        external("odd", b"no certificate"),
    ]  # fmt: skip
    assert urls_for(all_of_them, OLD.certs_pem, OLD.certs_pem) == ("first", "old")
    assert urls_for(all_of_them, NEXT.certs_pem + b"\n", OLD.certs_pem) == ("next",)
    unknown = api.ExternalCA(url="other", protocol=5)  # type: ignore[arg-type]
    assert urls_for([unknown], OLD.certs_pem, OLD.certs_pem) == ()


def test_while_a_root_is_rotated_the_next_ones_external_cas_sign() -> None:
    cluster = api.Cluster(root_ca=api.RootCA(ca_cert=OLD.certs_pem))
    cluster.spec.ca_config.external_cas.extend([external("old"), external("next", NEXT.certs_pem)])
    assert signing_urls(cluster) == ("old",)
    assert read_chain(trusted_pem(cluster.root_ca)) == OLD.certificates
    cluster.root_ca.root_rotation.ca_cert = NEXT.certs_pem
    assert signing_urls(cluster) == ("next",)
    assert read_chain(trusted_pem(cluster.root_ca)) == OLD.certificates + NEXT.certificates


@pytest.mark.parametrize(
    ("role", "unit", "hosts"),
    [
        (api.WORKER, "swarm-worker", ["swarm-worker", "n1"]),
        (api.MANAGER, "swarm-manager", ["swarm-manager", "n1", "swarm-ca"]),
    ],
)
def test_what_is_asked_for_a_node(role: int, unit: str, hosts: list[str]) -> None:
    assert node_request(CSR, "n1", role, "c1") == {
        "hosts": hosts,
        "certificate_request": CSR.decode(),
        "subject": {"CN": "n1", "names": [{"OU": unit, "O": "c1"}]},
        "profile": "",
        "crl_override": "",
        "label": "",
    }
    with pytest.raises(InvalidArgument):
        node_request(CSR, "n1", 7, "c1")


def test_what_is_asked_for_a_root() -> None:
    asked = cross_sign_request(NEXT.certs_pem, NEXT.key_pem)
    request = x509.load_pem_x509_csr(asked.pop("certificate_request").encode())
    assert request.is_signature_valid
    assert request.subject == NEXT.certificates[0].subject
    assert request.public_key() == NEXT.certificates[0].public_key()
    assert public_key_der(NEXT.certificates[0])
    assert asked == {
        "hosts": None,
        "subject": {"CN": "swarm-ca", "names": []},
        "profile": "CA",
        "crl_override": "",
        "label": "",
        "extensions": [{"id": "2.5.29.19", "critical": True, "value": "30030101ff"}],
    }


def test_an_answer_holds_the_certificate() -> None:
    text = OLD.certs_pem.decode().strip()  # cfssl's has no newline at its end
    body = json.dumps({"success": True, "result": {"certificate": text}, "errors": []})
    assert certificate_of(200, body.encode()) == OLD.certs_pem


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (500, b"oops", ExternalCAUnreachable, "unexpected status code in CSR response: 500 - oops"),
        (302, b"", ExternalCAUnreachable, "unexpected status code"),
        (200, b"<html>", ExternalCAUnreachable, "unable to parse JSON response"),
        (200, b"\xff\xfe", ExternalCAUnreachable, "unable to parse JSON response"),
        (200, b'{"success": tr', ExternalCAUnreachable, "unable to parse JSON response"),
        (200, b"[]", ExternalCAUnreachable, "unable to parse JSON response"),
        (200, b'{"success": false, "errors": [{"code": 1}]}', ExternalCARefused, "response errors: [{'code': 1}]"),
        (200, b'{"success": true}', ExternalCARefused, "certificate signing request failed"),
        (200, b'{"success": true, "result": 5}', ExternalCARefused, "holds no certificate"),
        (200, b'{"success": true, "result": {"certificate": 5}}', ExternalCARefused, "holds no certificate"),
        (200, b'{"success": true, "result": {"certificate": "x"}}', ExternalCARefused, "not a PEM certificate"),
    ],
)
def test_answers_that_hold_none(status: int, body: bytes, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as raised:
        certificate_of(status, body)
    assert message in str(raised.value)
