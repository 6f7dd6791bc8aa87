import math

import pytest

from shoal.compose.scalars import integer, resolved


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("0", 0),
        ("-0", 0),
        ("+12", 12),
        ("0777", 511),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b101", 5),
        ("1_000", 1000),
        ("089", 89.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("12:30", "12:30"),
        ("-", "-"),
        ("18446744073709551615", 2**64 - 1),
        ("9" * 5000, "9" * 5000),
        ("1e999", "1e999"),
        ("2001-12-14", "2001-12-14"),
    ],
)
def test_a_plain_scalar_means_what_it_does_to_docker(text: str, value: object) -> None:
    found = resolved(text)
    assert (found, type(found)) == (value, type(value))


def test_infinity_and_none_at_all() -> None:
    assert resolved("-.inf") == -math.inf
    assert integer("1.5") is None
    assert integer("9" * 5000) is None
