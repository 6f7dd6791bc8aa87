import pytest

from shoal.compose.errors import ComposeError, Place
from shoal.compose.limits import MAX_VALUES, Limits
from shoal.compose.node import OVERRIDE, RESET, Node, plain
from shoal.compose.reading import MAX_BYTES, documents
from tests.unit.compose.files import Memory


def read(text: str | bytes) -> list[Node]:
    return documents(text.encode() if isinstance(text, str) else text, "f.yaml", Limits(Memory({})))


def test_values_know_where_they_stand() -> None:
    (found,) = read("a:\n  b: [1, x]\n")
    assert plain(found) == {"a": {"b": [1, "x"]}}
    inner = found.get("a", "b")
    assert inner is not None
    assert (inner.place, inner.key_place) == (Place("f.yaml", 2, 6), Place("f.yaml", 2, 3))
    assert inner.items[1].place == Place("f.yaml", 2, 10)


def test_quoted_scalars_are_text_and_tags_say_more() -> None:
    (found,) = read("{a: '1', b: 1, c: !!str 1, d: !reset null, e: !override [1]}")
    assert plain(found) == {"a": "1", "b": 1, "c": "1", "d": None, "e": [1]}
    assert [found.entries[key].tag for key in "abcde"] == ["", "", "", RESET, OVERRIDE]


def test_merge_keys_and_aliases() -> None:
    (found,) = read("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], c: 3}\nw: {<<: *y, <<: *x}")
    assert plain(found)["z"] == {"a": 1, "b": 1, "c": 3}
    assert plain(found)["w"] == {"a": 1, "b": 2, "c": 2}


def test_several_documents() -> None:
    assert [plain(each) for each in read("a: 1\n---\nb: 2\n")] == [{"a": 1}, {"b": 2}]
    assert read("") == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [1\nb: 2", "f.yaml:2:2: is no YAML"),
        ("a:\n\tb: 1", "f.yaml:2:1: is no YAML"),
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1: a: is here a second time, after line 1"),
        ("a: *b", "f.yaml:1:4: there is no anchor &b before this"),
        ("a: &a [*a]", "f.yaml:1:8: *a is inside of what &a names"),
        ("a: !!python/object:os.system x", "f.yaml:1:4: the tag tag:yaml.org,2002:python/object:os.system is unknown"),
        ("1: x", "f.yaml:1:1: a key must be text"),
        ("? [a]\n: x", "f.yaml:1:3: a key must be text"),
        ("a: {<<: 5}", "f.yaml:1:5: <<: merges mappings alone"),
        ("a: \x07", "f.yaml:1: is no YAML"),
    ],
)
def test_mistakes_are_told_with_line_and_column(text: str, error: str) -> None:
    with pytest.raises(ComposeError) as found:
        read(text)
    assert str(found.value).startswith(error)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ComposeError, match=r"f.yaml:2: is not UTF-8"):
        read(b"a: 1\n\xff")


def test_a_large_file_is_refused() -> None:
    with pytest.raises(ComposeError, match="may have 4,194,304"):
        read(b"#" * (MAX_BYTES + 1))


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 70, "".join(" " * depth + "a:\n" for depth in range(100))])
def test_depth_is_bounded(text: str) -> None:
    with pytest.raises(ComposeError, match=r"nest|deep"):
        read(text)


def test_aliases_of_aliases_are_counted_and_not_made() -> None:
    lines = ["x0: &x0 [a, b, c, d, e, f, g, h, i, j]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(ComposeError, match=r"f.yaml:5:\d+: there are more than 200,000 values"):
        read("\n".join(lines))
    lines = ["x0: &x0 {a: 1}"]
    lines += [f"x{n}: &x{n} {{l: *x{n - 1}, r: *x{n - 1}, <<: *x{n - 1}}}" for n in range(1, 60)]
    with pytest.raises(ComposeError, match="values"):
        read("\n".join(lines))


@pytest.mark.slow
def test_many_values_are_refused_where_they_become_too_many() -> None:
    with pytest.raises(ComposeError, match=f"f.yaml:{MAX_VALUES + 1}:3: there are more"):
        read("x:\n" + "- a\n" * (MAX_VALUES + 10))
