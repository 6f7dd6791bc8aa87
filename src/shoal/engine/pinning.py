"""Pins images of services to digests for clients before API 1.30. Newer ones call `/distribution` and pin themselves.

Source of texts: moby daemon/cluster/services.go, imageWithDigestString, digestWarning.
"""

from dataclasses import replace

from shoal.engine.backend import Images
from shoal.runtime.image_types import parse_registry_auth
from shoal.runtime.references import parse


async def pinned(images: Images, image: str, auth: str) -> str:
    """Return an image's reference with the digest from its registry. `auth` is the text of X-Registry-Auth."""
    reference = parse(image)
    if reference.digest:
        return reference.familiar
    tagged = reference.tagged()
    found = await images.distribution(tagged.familiar, parse_registry_auth(auth))
    return replace(tagged, digest=found.digest).familiar


def warning(image: str) -> str:
    """Return the warning for a client whose image could not be pinned."""
    return (
        f"image {image} could not be accessed on a registry to record\n"
        f"its digest. Each node will access {image} independently,\n"
        "possibly leading to different nodes running different\n"
        "versions of the image.\n"
    )
