"""What Go's fmt prints. The expected texts are the output of Docker's command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.agent.templates.printf import WIDTH_LIMIT, shown, sprint, sprintf
from shoal.agent.templates.values import Struct
from shoal.errors import InvalidArgument

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)


@pytest.mark.parametrize(
    ("form", "values", "expected"),
    [
        ("%03s", ("1",), "001"),
        ("%5.2s|", ("abc",), "   ab|"),
        ("%d", ("1",), "%!d(string=1)"),
        ("%5t|%-5d|%+d|% d|%05d", (True, 1, 1, 1, -4), " true|1    |+1| 1|-0004"),
        (
            "%x|%X|%#x|%o|%b|%c|%q|%U|%#U",
            (255, 255, 255, 8, 5, 65, 65, 65, 65),
            "ff|FF|0xff|10|101|A|'A'|U+0041|U+0041 'A'",
        ),
        (
            "%e %.2f %8.3f|%-8.2f|%08.3f|%g",
            (1.5, 1.555, 1.5, 1.5, -1.5, 1e30),
            "1.500000e+00 1.55    1.500|1.50    |-001.500|1e+30",
        ),
        (
            "%q|%x|% x|%+q|%#q|%#v|%10.3q",
            ('a"b', "hi", "hi", "é", "a", "a", "abcdef"),
            '"a\\"b"|6869|68 69|"\\u00e9"|`a`|"a"|     "abc"',
        ),
        ("%.3d|%+05d|%-05d|%x", (5, 3, 3, "é"), "005|+0003|3    |c3a9"),
        ("%s %v %T %t", (1, None, "x", 1), "%!s(int=1) <nil> string %!t(int=1)"),
        ("%[2]s %[1]d %[5]d", (1, "b"), "b 1 %!d(BADINDEX)"),
        ("%*d|%.*f|%*d", (5, 1, 2, 1.0, "x", 3), "    1|1.00|%!(BADWIDTH)3"),
        ("%d|%|%z", (1,), "1|%!|(MISSING)%!z(MISSING)"),
        ("%", (), "%!(NOVERB)"),
        ("%d", (1, 2, "x"), "1%!(EXTRA int=2, string=x)"),
        ("%v %d", ({"b": "1", "a": "2"}, {"a": "2"}), "map[a:2 b:1] map[%!d(string=a):%!d(string=2)]"),
        ("%v %+v", (Struct(ID="a"), Struct(ID="a")), "{a} {ID:a}"),
    ],
)
def test_forms(form: str, values: tuple[object, ...], expected: str) -> None:
    assert sprintf(form, values) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1000000.0, "1e+06"),
        (1e-5, "1e-05"),
        (100000.5, "100000.5"),
        (2.0, "2"),
        (12345678.5, "1.23456785e+07"),
        (0.1, "0.1"),
    ],
)
def test_fractions_are_as_short_as_can_be(value: float, expected: str) -> None:
    assert shown(value) == expected


def test_spaces_stand_between_what_is_no_string() -> None:
    assert sprint([1, 2, "a", 3, 4]) == "1 2a3 4"


def test_a_width_has_a_limit() -> None:
    assert len(sprintf("%1000000d", (1,))) == WIDTH_LIMIT
    with pytest.raises(InvalidArgument):
        sprintf("%1000001d", (1,))


@given(st.text(alphabet="%[]*.#+-0 123vdsqxXoOcUeEfgGTtbp", max_size=20), st.lists(VALUES, max_size=4))
def test_any_form_gives_a_text_or_is_refused(form: str, values: list[object]) -> None:
    try:
        assert isinstance(sprintf(form, values), str)
    except InvalidArgument:
        return
