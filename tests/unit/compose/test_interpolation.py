import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.compose.interpolation import MAX_LENGTH, BadTemplate, Variables, substitute

VALUES = {"SET": "value", "EMPTY": ""}
FORMS = {  # form: what it becomes for SET, EMPTY, UNSET; None: an error
    "${%s}": ("value", "", ""),
    "$%s": ("value", "", ""),
    "${%s:-x}": ("value", "x", "x"),
    "${%s-x}": ("value", "", "x"),
    "${%s:+x}": ("x", "", ""),
    "${%s+x}": ("x", "x", ""),
    "${%s:?x}": ("value", None, None),
    "${%s?x}": ("value", "", None),
    "$${%s}": ("${SET}", "${EMPTY}", "${UNSET}"),
    "${%s:-${SET}}": ("value", "value", "value"),
    "${%s:+${%s}!}": ("value!", "", ""),
    "a${%s:-b}c": ("avaluec", "abc", "abc"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("number", range(3), ids=["set", "empty", "unset"])
def test_each_form_with_a_variable_set_empty_and_unset(form: str, number: int) -> None:
    name, wanted = ("SET", "EMPTY", "UNSET")[number], FORMS[form][number]
    text = form.replace("%s", name)
    if wanted is None:
        with pytest.raises(BadTemplate, match=f"the variable {name} is required: x"):
            substitute(text, Variables(VALUES))
    else:
        assert substitute(text, Variables(VALUES)) == wanted


def test_a_dollar_of_its_own_stays() -> None:
    assert substitute("5$ $ $1 $$$$", Variables(VALUES)) == "5$ $ $1 $$"


@pytest.mark.parametrize("text", ["${", "${}", "${1}", "${SET", "${SET!x}", "${SET x}", "${:-x}"])
def test_what_is_no_form_is_refused(text: str) -> None:
    with pytest.raises(BadTemplate):
        substitute(text, Variables(VALUES))


def test_values_are_not_looked_into() -> None:
    assert substitute("$A", Variables({"A": "$B ${", "B": "x"})) == "$B ${"


def test_missing_variables_are_told() -> None:
    missing: list[str] = []
    assert substitute("$A ${B} ${C:-x} ${D+y}", Variables({}, missing.append)) == "  x "
    assert missing == ["A", "B"]


def test_length_and_depth_are_bounded() -> None:
    with pytest.raises(BadTemplate, match="more than"):
        substitute("$A" * 50, Variables({"A": "x" * (MAX_LENGTH // 40)}))
    with pytest.raises(BadTemplate, match="nested deeper"):
        substitute("${A:-" * 40 + "}" * 40, Variables({}))


@given(st.text(alphabet="${}:-+?AB x", max_size=40))
def test_any_text_becomes_text_or_is_refused(text: str) -> None:
    try:
        substitute(text, Variables({"A": "a", "B": ""}))
    except BadTemplate:
        pass
