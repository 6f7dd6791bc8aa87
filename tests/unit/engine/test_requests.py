import pytest

from shoal.engine.requests import Filters, parse_json
from shoal.errors import InvalidArgument


@pytest.mark.parametrize("text", ['{"label":{"a":true,"b=c":true}}', '{"label":["a","b=c"]}'])
def test_both_forms_of_filters_are_read(text: str) -> None:
    filters = Filters.parse(text)
    assert filters.get("label") == ("a", "b=c")
    assert filters.labels("label", {"a": "x", "b": "c"})
    assert not filters.labels("label", {"a": "x", "b": "d"})
    assert not filters.labels("label", {"b": "c"})


@pytest.mark.parametrize("text", ["{", "[]", '{"a":1}', '{"a":{"b":1}}', '{"a":[1]}'])
def test_broken_filters_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid filter$"):
        Filters.parse(text)


def test_unknown_filter_keys_are_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid filter 'x'$"):
        Filters.parse('{"x":["y"]}').check(frozenset({"id"}))


def test_a_true_or_false_filter_takes_one_side() -> None:
    assert Filters.parse('{"dangling":["1"]}').flag("dangling")
    assert not Filters.parse('{"dangling":["false"]}').flag("dangling", default=True)
    with pytest.raises(InvalidArgument, match=r"^invalid filter 'dangling=\[1 0\]'$"):
        Filters.parse('{"dangling":["1","0"]}').flag("dangling")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "invalid JSON: got EOF while reading request body"),
        (b"{", "invalid JSON: unexpected EOF"),
        (b'{"a', "invalid JSON: unexpected EOF"),
        (b"{a}", "invalid JSON: invalid character 'a' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid JSON: invalid character '1' after object key"),
        (b"nonsense", "invalid JSON: invalid character 'n' looking for beginning of value"),
        (b"{} x", "unexpected content after JSON"),
        (b'{"a":NaN}', "invalid JSON: invalid character 'N' looking for beginning of value"),
        (b"[" * 100_000, "invalid JSON: exceeded max depth"),
    ],
)
def test_malformed_json_is_refused_in_docker_words(body: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_json(body)
    assert str(caught.value) == message
