"""How a root is changed: each rule and each of Docker's texts."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.utils import CryptographyDeprecationWarning

from shoal.api import v1 as api
from shoal.ca.identity import public_key_der, read_chain, validate_chain
from shoal.ca.root import RootCA, create_root, load_key, root_from_api
from shoal.errors import FailedPrecondition, InvalidArgument, OutOfSequence, ShoalError
from shoal.manager.certificates.external_ca import ExternalCARefused, SignRequest
from shoal.manager.control.root_change import changed_root
from tests.unit.ca.swarms import bent
from tests.unit.manager.control.conftest import NOW, Make

YEAR = 365 * 86400
OLD, NEXT, THIRD = (create_root(NOW) for _ in range(3))
SHORT = create_root(NOW - 19.5 * 365 * 86400)
EXPIRED = create_root(NOW - 21 * 365 * 86400)


@dataclass
class Outside:
    """External CAs with these addresses. `signs` cross-signs with the old root's key."""

    reachable: Sequence[str] = ()
    signs: RootCA | None = OLD
    asked: list[tuple[Sequence[str], bytes, SignRequest]] = field(default_factory=list)

    async def is_reachable(self, url: str, trust_pem: bytes) -> bool:
        return url in self.reachable

    async def sign(self, urls: Sequence[str], trust_pem: bytes, request: SignRequest) -> bytes:
        self.asked.append((urls, trust_pem, request))
        if self.signs is None:
            raise ExternalCARefused("certificate signing request failed")
        assert x509.load_pem_x509_csr(request["certificate_request"].encode()).is_signature_valid
        return self.signs.cross_sign(NEXT.certs_pem)


def held(*, key: bool = True, to: RootCA | None = None, to_key: bool = True, force: int = 0) -> api.RootCA:
    root_ca = api.RootCA(
        ca_cert=OLD.certs_pem,
        ca_key=OLD.key_pem if key else b"",
        ca_cert_hash="hash",
        join_tokens=api.JoinTokens(worker="w", manager="m"),
        last_forced_rotation=force,
    )
    if to is not None:
        root_ca.root_rotation.ca_cert = to.certs_pem
        root_ca.root_rotation.ca_key = to.key_pem if to_key else b""
        root_ca.root_rotation.cross_signed_ca_cert = OLD.cross_sign(to.certs_pem)
    return root_ca


def wish(root: RootCA | None = None, *, key: bool = True, force: int = 0, **external: RootCA | None) -> api.CAConfig:
    """Return CA settings. `external` names the host of an external CA, and its root."""
    config = api.CAConfig(force_rotate=force)
    if root is not None:
        config.signing_ca_cert = root.certs_pem
        config.signing_ca_key = root.key_pem if key else b""
    for host, stands_for in external.items():
        config.external_cas.add(url=f"https://{host}", ca_cert=stands_for.certs_pem if stands_for else b"")
    return config


def mixed(certificate: RootCA, key: RootCA) -> RootCA:
    return RootCA(certificate.certs_pem, key.key_pem)


MISSING = "there must be at least one valid, reachable external CA corresponding to the {} CA certificate"
NOT_BOTH = "rotating from one external CA to a different external CA is not supported"


@pytest.mark.parametrize(
    ("root_ca", "config", "message"),
    [
        (held(), api.CAConfig(signing_ca_cert=b"garbage"), "could not parse the desired CA certificate"),
        (
            held(),
            wish(RootCA(NEXT.certs_pem + THIRD.certs_pem, NEXT.key_pem)),
            "the desired CA certificate cannot contain multiple certificates",
        ),
        (held(), wish(SHORT), "CA certificate expires too soon"),
        (held(), wish(mixed(NEXT, THIRD)), "certificate key mismatch"),
        (held(), wish(EXPIRED), "expired"),
        (held(), wish(mixed(NEXT, RootCA(b"", b"x"))), "private key cannot be read"),
        (held(key=False), wish(), MISSING.format("current")),
        (held(key=False), wish(gone=None), MISSING.format("current")),
        (held(key=False), wish(up=NEXT), MISSING.format("current")),
        (held(key=False), wish(NEXT), MISSING.format("current")),
        (held(key=False), wish(mixed(OLD, NEXT)), "certificate key mismatch"),
        (held(), wish(NEXT, key=False), MISSING.format("desired")),
        (held(), wish(NEXT, key=False, up=None), MISSING.format("desired")),
        (held(), wish(OLD, key=False, gone=None), MISSING.format("desired")),
        (held(to=NEXT, to_key=False), wish(), MISSING.format("next")),
        (held(to=NEXT, to_key=False), wish(up=None), MISSING.format("next")),
        (held(key=False), wish(NEXT, key=False, up=None, other=NEXT), NOT_BOTH),
    ],
)
async def test_refusals_in_dockers_words(root_ca: api.RootCA, config: api.CAConfig, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        await changed_root(root_ca, config, NOW, Outside(["https://up", "https://other"]))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("at", "reason"),
    [(NOW - 4 * YEAR, "certificate not valid before .*, and this host's clock says "), (NOW + 21 * YEAR, "expired at")],
    ids=["before the root", "after the root"],
)
async def test_a_rotation_by_a_clock_that_is_years_off_is_refused_and_says_so(at: float, reason: str) -> None:
    with pytest.raises(FailedPrecondition, match=rf"^unable to generate a cross-signed certificate .*: .*{reason}"):
        await changed_root(held(), wish(force=1), at, None)


def without(root: RootCA, constraints: x509.BasicConstraints | x509.UnrecognizedExtension | None) -> RootCA:
    """Return a root with the same key whose constraints say that it is no CA."""
    key, old = load_key(root.key_pem), root.certificates[0]
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, old.public_key(), 5, old.not_valid_before_utc, old.not_valid_after_utc
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    return RootCA(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), root.key_pem)


@pytest.mark.parametrize(
    "constraints",
    [
        None,
        x509.BasicConstraints(ca=False, path_length=None),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.19"), b"junk"),
    ],
    ids=["none", "no CA", "unreadable"],
)
async def test_a_certificate_that_may_not_sign_is_refused(
    constraints: x509.BasicConstraints | x509.UnrecognizedExtension | None,
) -> None:
    with pytest.raises(FailedPrecondition, match=r"^unable to generate .*: certificate not a CA$"):
        await changed_root(held(), wish(without(NEXT, constraints)), NOW, None)


async def test_a_bent_certificate_or_key_is_refused_or_taken_and_nothing_else() -> None:
    """Each byte of both is changed in turn, because some parts are only read when they are needed."""
    der = NEXT.certificates[0].public_bytes(Encoding.DER)
    key = load_key(NEXT.key_pem).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    wishes = [RootCA(pem, NEXT.key_pem) for pem in bent("CERTIFICATE", der)]
    wishes += [RootCA(NEXT.certs_pem, pem) for pem in bent("PRIVATE KEY", key)]
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # of serial numbers
        for wanted in wishes:
            try:
                await changed_root(held(), wish(wanted), NOW, None)
            except ShoalError as error:
                assert error.http_status == 400, error  # noqa: PT017 - others are taken
                refused += 1
    assert refused > len(wishes) / 2


async def test_without_a_way_out_no_external_ca_is_reachable() -> None:
    with pytest.raises(InvalidArgument, match="corresponding to the current CA certificate"):
        await changed_root(held(key=False), wish(up=None), NOW, None)


async def test_a_root_with_the_same_key_is_refused() -> None:
    key = load_key(OLD.key_pem)
    certificate = OLD.certificates[0]
    builder = x509.CertificateBuilder(
        certificate.issuer, certificate.subject, certificate.public_key(), certificate.serial_number + 1,
        certificate.not_valid_before_utc, certificate.not_valid_after_utc, list(certificate.extensions),
    )  # fmt: skip
    again = builder.sign(key, certificate.signature_hash_algorithm).public_bytes(Encoding.PEM)  # type: ignore[arg-type]
    other_form = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    for key_pem in (OLD.key_pem, other_form):
        with pytest.raises(InvalidArgument, match=r"^Cannot update to a cert with an identical key$"):
            await changed_root(held(), wish(RootCA(again, key_pem)), NOW, None)


@pytest.mark.parametrize("root_ca", [held(force=3), held(to=NEXT, force=3)], ids=["at rest", "rotating"])
async def test_nothing_asked_nothing_changed(root_ca: api.RootCA) -> None:
    assert await changed_root(root_ca, wish(force=3, gone=None), NOW, Outside()) == root_ca


@pytest.mark.parametrize("force", [2, 9])
async def test_forced_makes_a_root_that_the_present_one_has_cross_signed(force: int) -> None:
    changed = await changed_root(held(force=3), wish(force=force), NOW, None)
    rotation = changed.root_rotation
    root_from_api(changed).check(NOW)
    new, cross = read_chain(rotation.ca_cert)[0], read_chain(rotation.cross_signed_ca_cert)[0]
    validate_chain([cross], OLD.certificates, NOW)
    assert (cross.subject, public_key_der(cross)) == (new.subject, public_key_der(new))
    assert public_key_der(load_key(rotation.ca_key)) == public_key_der(new)
    assert public_key_der(new) != public_key_der(OLD.certificates[0])
    rest = held(force=force)
    rest.root_rotation.CopyFrom(rotation)
    assert changed == rest  # the trusted root and the tokens stay


@pytest.mark.parametrize("before", [held(), held(to=THIRD)], ids=["at rest", "restart"])
async def test_a_given_root_becomes_the_next(before: api.RootCA) -> None:
    spaced = api.CAConfig(signing_ca_cert=b"note\n" + NEXT.certs_pem + b"\n\n", signing_ca_key=NEXT.key_pem)
    changed = await changed_root(before, spaced, NOW, None)
    assert (changed.root_rotation.ca_cert, changed.root_rotation.ca_key) == (NEXT.certs_pem, NEXT.key_pem)
    root_from_api(changed).check(NOW)
    assert changed.ca_cert == OLD.certs_pem


async def test_the_present_root_cancels_a_rotation() -> None:
    assert await changed_root(held(to=NEXT), wish(OLD, force=4), NOW, None) == held(force=4)


async def test_the_same_target_again_changes_its_key_alone() -> None:
    before = held(to=NEXT)
    changed = await changed_root(before, wish(NEXT, key=False, up=NEXT, force=4), NOW, Outside(["https://up"]))
    before.root_rotation.ca_key = b""
    before.last_forced_rotation = 4
    assert changed == before
    back = await changed_root(changed, wish(NEXT, force=4), NOW, Outside())
    assert back.root_rotation.ca_key == NEXT.key_pem


async def test_to_an_external_ca_and_back() -> None:
    outside = Outside(["https://up"])
    to_external = await changed_root(held(), wish(NEXT, key=False, up=NEXT), NOW, outside)
    assert (to_external.root_rotation.ca_cert, to_external.root_rotation.ca_key) == (NEXT.certs_pem, b"")
    assert outside.asked == []  # cross-signed by our own key

    back = await changed_root(held(key=False), wish(NEXT, up=None), NOW, outside)
    assert (back.root_rotation.ca_cert, back.root_rotation.ca_key) == (NEXT.certs_pem, NEXT.key_pem)
    root_from_api(back).check(NOW)
    ((urls, trusted, request),) = outside.asked
    assert (urls, trusted, request["profile"]) == (("https://up",), OLD.certs_pem, "CA")
    assert request["subject"] == {"CN": "swarm-ca", "names": []}
    assert request["extensions"] == [{"id": "2.5.29.19", "critical": True, "value": "30030101ff"}]


async def test_the_key_of_an_external_ca_may_be_given_for_the_root_it_has() -> None:
    assert await changed_root(held(key=False, to=NEXT), wish(OLD, force=2), NOW, None) == held(force=2)


@pytest.mark.parametrize("signs", [None, THIRD], ids=["refuses", "another root"])
async def test_what_is_not_cross_signed_does_not_begin(signs: RootCA | None) -> None:
    outside = Outside(["https://up"], signs)
    with pytest.raises(ShoalError) as raised:
        await changed_root(held(key=False), wish(NEXT, up=None), NOW, outside)
    assert type(raised.value) is ShoalError
    assert str(raised.value) == "unable to generate a cross-signed certificate for root rotation"


async def test_a_certificate_that_is_no_ca_is_not_cross_signed() -> None:
    key = load_key(NEXT.key_pem)
    root = NEXT.certificates[0]
    builder = x509.CertificateBuilder(
        root.subject, root.subject, root.public_key(), 5, root.not_valid_before_utc, root.not_valid_after_utc
    )
    pem = builder.sign(key, root.signature_hash_algorithm).public_bytes(Encoding.PEM)  # type: ignore[arg-type]
    with pytest.raises(ShoalError, match="unable to generate a cross-signed certificate"):
        await changed_root(held(), wish(RootCA(pem, NEXT.key_pem)), NOW, None)


async def test_update_of_a_cluster_begins_a_rotation_and_shows_no_key(make: Make) -> None:
    spec = api.ClusterSpec(annotations=api.Annotations(name="default"))
    control, store = make(api.Cluster(id="c", spec=spec, root_ca=held()))
    spec.ca_config.force_rotate = 1
    rotation = api.KeyRotation(worker_join_token=True)
    request = api.UpdateClusterRequest(
        cluster_id="c", cluster_version=api.Version(index=1), spec=spec, rotation=rotation
    )
    public = (await control.update_cluster(request)).cluster.root_ca
    stored = store.view().clusters.get("c")
    assert stored is not None
    assert stored.root_ca.root_rotation.ca_key
    assert not public.ca_key
    assert not public.root_rotation.ca_key
    assert public.root_rotation.ca_cert == stored.root_ca.root_rotation.ca_cert
    assert (public.join_tokens.manager, public.ca_cert) == ("m", OLD.certs_pem)
    assert public.join_tokens.worker.startswith("SWMTKN-1-")


async def test_a_root_that_changed_while_an_external_ca_was_asked_is_not_written_over(make: Make) -> None:
    spec = api.ClusterSpec(annotations=api.Annotations(name="default"))

    class Slow(Outside):
        async def is_reachable(self, url: str, trust_pem: bytes) -> bool:
            def write(transaction: object) -> None:
                transaction.update(api.Cluster(id="c", spec=spec, root_ca=held(to=THIRD), meta=meta))  # type: ignore[attr-defined]

            await store.update(write)
            return True

    control, store = make(api.Cluster(id="c", spec=spec, root_ca=held()), external=Slow())
    stored = store.view().clusters.get("c")
    assert stored is not None
    meta = stored.meta
    later = api.ClusterSpec(annotations=api.Annotations(name="default"), ca_config=wish(NEXT, key=False, up=NEXT))
    request = api.UpdateClusterRequest(cluster_id="c", cluster_version=api.Version(index=2), spec=later)
    with pytest.raises(OutOfSequence):
        await control.update_cluster(request)
