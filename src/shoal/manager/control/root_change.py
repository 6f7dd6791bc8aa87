"""How the root CA of a swarm changes with its CA settings: not at all, or by beginning, changing or ending a rotation.

In: the present root, the settings asked for. Out: the new root. External CAs are reached only through `ExternalCAs`.
Source of rules, order and texts: SwarmKit manager/controlapi/ca_rotation.go.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from shoal.api import v1 as api
from shoal.ca.identity import InvalidCertificate, normalized, public_key_der, read_chain, validate_chain
from shoal.ca.root import RootCA, create_root, load_key
from shoal.errors import FailedPrecondition, InvalidArgument, ShoalError
from shoal.manager.certificates.external_ca import SignRequest, cross_sign_request, urls_for

log = logging.getLogger(__name__)

MIN_LIFETIME_LEFT = timedelta(days=365)
_NO_EXTERNAL_CA = "there must be at least one valid, reachable external CA corresponding to the {} CA certificate"
_CROSS_SIGNING_FAILED = "unable to generate a cross-signed certificate for root rotation"


class ExternalCAs(Protocol):
    """Reaches external CAs. A CA is trusted if its TLS certificate was issued by a root in `trust_pem`."""

    async def is_reachable(self, url: str, trust_pem: bytes) -> bool:
        """Return whether a TLS connection to the CA can be made."""

    async def sign(self, urls: Sequence[str], trust_pem: bytes, request: SignRequest) -> bytes:
        """Return a certificate from the first CA that issues one. Raises ShoalError if none does."""


async def changed_root(
    root_ca: api.RootCA, config: api.CAConfig, now: float, external: ExternalCAs | None
) -> api.RootCA:
    """Return the root for a cluster with these settings. `now` is in seconds since 1970.

    Raises InvalidArgument for settings that are wrong or need an external CA that cannot be reached,
    FailedPrecondition or ShoalError if the next root cannot be cross-signed.
    """
    current = _comparable(root_ca.ca_cert)
    desired = _desired_certificate(config)
    if not root_ca.ca_key:
        if desired == current and config.signing_ca_key:  # with the external CA's own key the swarm signs itself
            RootCA(desired, config.signing_ca_key).check(now)
            return _with_key(root_ca, config)
        await _require_external(config, current, current, "current", external)
    if not desired:
        return await _without_certificate(root_ca, config, now, external)
    _check_desired(desired, config.signing_ca_key, now)
    if not config.signing_ca_key:
        await _require_external(config, desired, current, "desired", external)
    if desired == current:
        return _with_key(root_ca, config)
    if public_key_der(read_chain(desired)[0]) in _keys(current):
        raise InvalidArgument("Cannot update to a cert with an identical key")
    if root_ca.HasField("root_rotation") and _comparable(root_ca.root_rotation.ca_cert) == desired:
        changed = _copy(root_ca, config)
        changed.root_rotation.ca_key = config.signing_ca_key
        return changed
    return await _rotating(root_ca, RootCA(desired, config.signing_ca_key), config, now, external)


async def _without_certificate(
    root_ca: api.RootCA, config: api.CAConfig, now: float, external: ExternalCAs | None
) -> api.RootCA:
    """Return the root for settings that name no certificate: the present one, or a new one if a rotation is forced."""
    if config.force_rotate != root_ca.last_forced_rotation:
        return await _rotating(root_ca, create_root(now), config, now, external)
    if root_ca.HasField("root_rotation") and not root_ca.root_rotation.ca_key:
        following = _comparable(root_ca.root_rotation.ca_cert)
        await _require_external(config, following, _comparable(root_ca.ca_cert), "next", external)
    return root_ca


async def _rotating(
    root_ca: api.RootCA, following: RootCA, config: api.CAConfig, now: float, external: ExternalCAs | None
) -> api.RootCA:
    """Return the present root with a rotation to `following`. It replaces a rotation that is under way."""
    if not root_ca.ca_key and not following.can_sign:
        raise InvalidArgument("rotating from one external CA to a different external CA is not supported")
    try:
        if root_ca.ca_key:
            cross = RootCA(root_ca.ca_cert, root_ca.ca_key).cross_sign(following.certs_pem)
        else:
            request = cross_sign_request(following.certs_pem, following.key_pem)
            urls = urls_for(config.external_cas, root_ca.ca_cert, root_ca.ca_cert)
            assert external is not None  # one of them was reached
            cross = await external.sign(urls, root_ca.ca_cert, request)
        _check_cross(cross, following, root_ca.ca_cert, now)
    except ShoalError as error:
        log.error("the next root is not cross-signed: %s", error)
        if root_ca.ca_key:  # no external CA is involved, so the user is told what is wrong
            raise FailedPrecondition(f"{_CROSS_SIGNING_FAILED}: {error}") from error
        raise ShoalError(_CROSS_SIGNING_FAILED) from error
    changed = _copy(root_ca, config)
    rotation = api.RootRotation(ca_cert=following.certs_pem, ca_key=following.key_pem, cross_signed_ca_cert=cross)
    changed.root_rotation.CopyFrom(rotation)
    return changed


def _check_cross(cross_pem: bytes, following: RootCA, root_pem: bytes, now: float) -> None:
    """Raise InvalidCertificate unless `cross_pem` certifies the next root's key by the present root."""
    cross, root = read_chain(cross_pem)[0], following.certificates[0]
    if cross.subject != root.subject or public_key_der(cross) != public_key_der(root):
        raise InvalidCertificate("the cross-signed certificate is not one of the next root")
    validate_chain([cross], read_chain(root_pem), now)


def _desired_certificate(config: api.CAConfig) -> bytes:
    if not config.signing_ca_cert:
        return b""
    try:
        return normalized(config.signing_ca_cert)
    except InvalidCertificate as fault:
        raise InvalidArgument("could not parse the desired CA certificate") from fault


def _check_desired(desired: bytes, key_pem: bytes, now: float) -> None:
    root = RootCA(desired, key_pem)
    root.check(now)
    if len(root.certificates) != 1:
        raise InvalidArgument("the desired CA certificate cannot contain multiple certificates")
    if root.certificates[0].not_valid_after_utc < datetime.fromtimestamp(now, UTC) + MIN_LIFETIME_LEFT:
        raise InvalidArgument("CA certificate expires too soon")
    if key_pem:
        load_key(key_pem)


async def _require_external(
    config: api.CAConfig, wanted: bytes, current: bytes, which: str, external: ExternalCAs | None
) -> None:
    if external is not None:
        for url in urls_for(config.external_cas, wanted, current):
            if await external.is_reachable(url, wanted):
                return
            log.warning("the external CA %s is unreachable or invalid", url)
    raise InvalidArgument(_NO_EXTERNAL_CA.format(which))


def _with_key(root_ca: api.RootCA, config: api.CAConfig) -> api.RootCA:
    """Return the present root with the given key, and without a rotation."""
    changed = _copy(root_ca, config)
    changed.ca_key = config.signing_ca_key
    changed.ClearField("root_rotation")
    return changed


def _copy(root_ca: api.RootCA, config: api.CAConfig) -> api.RootCA:
    changed = api.RootCA()
    changed.CopyFrom(root_ca)
    changed.last_forced_rotation = config.force_rotate
    return changed


def _keys(pem: bytes) -> Iterable[bytes]:
    return {public_key_der(certificate) for certificate in read_chain(pem)}


def _comparable(pem: bytes) -> bytes:
    try:
        return normalized(pem)
    except InvalidCertificate:
        return pem.strip()
