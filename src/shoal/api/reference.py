"""Checks whether an image reference is well-formed.

Source: distribution/reference (grammar of `[domain/]path[:tag][@digest]`, and the short form that Docker
accepts as well).
"""

import re

NAME_LENGTH = 255  # of domain and path together

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"((?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)(?::{_TAG})?(?:@({_DIGEST}))?")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


def is_reference(text: str) -> bool:
    """Return whether a text is an image reference, in the short or the full form. A bare image id is not one."""
    if _IDENTIFIER.fullmatch(text):
        return False
    match = _REFERENCE.fullmatch(text)
    if match is None or len(match[1]) > NAME_LENGTH:
        return False
    algorithm, _, digits = (match[2] or "").partition(":")
    return not algorithm or (len(digits) == _DIGEST_LENGTHS.get(algorithm) and digits == digits.lower())
