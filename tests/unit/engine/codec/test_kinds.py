"""Single values between JSON and messages."""

import pytest

from shoal.engine.codec.kinds import BYTES
from shoal.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("I'm not", 1),
        ("aGVsbG8*", 7),
        ("ab=c", 2),
        ("abc", 0),
        ("?", 0),
        ("=abc", 0),
        ("a=bc", 1),
        ("ab=", 3),
        ("abc=d", 4),
        ("aGVs\nbG8", 5),
        ("aGVs\nab=\nc", 8),
        ("é", 0),
    ],
)
def test_bad_base64_is_found_where_go_finds_it(text: str, at: int) -> None:
    """The first four were seen with Docker; the others follow encoding/base64 (`decodeQuantum`)."""
    with pytest.raises(InvalidArgument, match=f"illegal base64 data at input byte {at}$"):
        BYTES.decode(text)


@pytest.mark.parametrize("text", ["", "aGVsbG8=", "aGVs\r\nbG8=\n", "aGVsbA=="])
def test_base64_may_have_line_ends(text: str) -> None:
    assert BYTES.decode(text) in (b"", b"hello", b"hell")
