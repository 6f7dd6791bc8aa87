"""Makes requests to external CAs, and reads their answers: CFSSL's sign API. Pure.

In: certificate requests, roots, the external CAs of a cluster's spec. Out: bodies of requests, certificates from bodies
of answers. Source: SwarmKit ca/external.go, ca/certificates.go (`PrepareCSR`); cfssl's signer.SignRequest.
"""

from collections.abc import Iterable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from shoal.api import v1 as api
from shoal.ca.identity import CA_NAME, MANAGER_OU, InvalidCertificate, normalized, read_chain, unit_of
from shoal.ca.root import load_key
from shoal.errors import ShoalError, Unavailable
from shoal.json_text import read_json

MAX_ANSWER_BYTES = 256 * 1024  # ten times a chain with the largest keys
MAX_REASON = 1024  # characters of what a CA says, which is kept in the node's object
CROSS_SIGN_PROFILE = "CA"
_NAMES = {  # cfssl's names of the parts of a subject
    NameOID.COUNTRY_NAME: "C",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.LOCALITY_NAME: "L",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
}

SignRequest = dict[str, Any]


class ExternalCAUnreachable(Unavailable):
    """There was no answer to this request. It is sent again later."""


class ExternalCARefused(ShoalError):
    """The external CA refused this request. Asking again is useless."""


def urls_for(external: Iterable[api.ExternalCA], wanted_pem: bytes, current_pem: bytes) -> tuple[str, ...]:
    """Return the URLs of the external CAs of a root. An entry without a certificate belongs to the current root."""
    wanted = _comparable(wanted_pem)
    return tuple(
        each.url
        for each in external
        if each.protocol == api.ExternalCA.CFSSL and _comparable(each.ca_cert or current_pem) == wanted
    )


def signing_urls(cluster: api.Cluster) -> tuple[str, ...]:
    """Return the URLs of the external CAs that sign now: for the next root while a rotation runs, else for the root.

    If there are none, the cluster's own key signs.
    """
    root_ca = cluster.root_ca
    wanted = root_ca.root_rotation.ca_cert if root_ca.HasField("root_rotation") else root_ca.ca_cert
    return urls_for(cluster.spec.ca_config.external_cas, wanted, root_ca.ca_cert)


def trusted_pem(root_ca: api.RootCA) -> bytes:
    """Return the roots that must have signed an external CA's TLS certificate: the current one and the next one."""
    return root_ca.ca_cert + (b"\n" + root_ca.root_rotation.ca_cert if root_ca.HasField("root_rotation") else b"")


def node_request(csr: bytes, node_id: str, role: int, organization: str) -> SignRequest:
    """Return the request for a node's certificate. Raises InvalidArgument for a number that is no role."""
    unit = unit_of(role)
    return {
        "hosts": [unit, node_id, *([CA_NAME] if unit == MANAGER_OU else [])],
        "certificate_request": csr.decode("utf-8", "replace"),
        "subject": {"CN": node_id, "names": [{"OU": unit, "O": organization}]},
        "profile": "",
        "crl_override": "",
        "label": "",
    }


def cross_sign_request(root_pem: bytes, key_pem: bytes) -> SignRequest:
    """Return the request for a root's cross-signed certificate. Raises InvalidCertificate."""
    root = read_chain(root_pem)[0]
    request = x509.CertificateSigningRequestBuilder().subject_name(root.subject)
    for extension in root.extensions:
        request = request.add_extension(extension.value, extension.critical)
    signed = request.sign(load_key(key_pem), hashes.SHA256())
    names = [{name: str(part.value)} for part in root.subject if (name := _NAMES.get(part.oid))]
    common = root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return {
        "hosts": None,
        "certificate_request": signed.public_bytes(Encoding.PEM).decode("ascii"),
        "subject": {"CN": str(common[0].value) if common else "", "names": names},
        "profile": CROSS_SIGN_PROFILE,
        "crl_override": "",
        "label": "",
        # Of a CSR's extensions cfssl only reads the alternative names, so the basic constraints are given here as well.
        "extensions": [
            {
                "id": extension.oid.dotted_string,
                "critical": extension.critical,
                "value": extension.value.public_bytes().hex(),
            }
            for extension in root.extensions
            if isinstance(extension.value, x509.BasicConstraints)
        ],
    }


def certificate_of(status: int, body: bytes) -> bytes:
    """Return the certificate in an answer, as PEM. Raises ExternalCAUnreachable or ExternalCARefused."""
    if status != 200:
        text = body[:200].decode("utf-8", "replace")
        raise ExternalCAUnreachable(f"unexpected status code in CSR response: {status} - {text}")
    try:
        answer = read_json(body)
    except ValueError as fault:
        raise ExternalCAUnreachable(f"unable to parse JSON response: {fault}") from fault
    if not isinstance(answer, dict):
        raise ExternalCAUnreachable("unable to parse JSON response: it is no object")
    result = answer.get("result")
    if answer.get("success") is not True or result is None:
        errors = answer.get("errors")
        said = f"response errors: {errors}" if errors else "certificate signing request failed"
        raise ExternalCARefused(said[:MAX_REASON])
    certificate = result.get("certificate") if isinstance(result, dict) else None
    if not isinstance(certificate, str):
        raise ExternalCARefused("the response holds no certificate")
    try:
        return normalized(certificate.encode())
    except InvalidCertificate as fault:
        raise ExternalCARefused(str(fault)) from fault


def _comparable(pem: bytes) -> bytes:
    try:
        return normalized(pem)
    except InvalidCertificate:
        return pem.strip()
