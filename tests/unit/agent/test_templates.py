"""Go's templates, as far as placeholders go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.agent.templates import Struct, expand
from shoal.errors import InvalidArgument

VALUES = Struct(
    Service=Struct(ID="s1", Name="web", Labels={"com.example.tier": "front", "x": "2"}),
    Node=Struct(ID="n1", Hostname="host-1", Platform=Struct(Architecture="x86_64", OS="linux")),
    Task=Struct(ID="t1", Name="web.1.t1", Slot="1"),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{.Node.Hostname}}-{{.Task.Slot}}", "host-1-1"),
        ('{{index .Service.Labels "com.example.tier"}}', "front"),
        ('{{index .Service.Labels "none"}}', ""),
        ("{{.Service.Labels.x}}", "2"),
        ('{{join "-" .Service.Name .Task.Slot}}', "web-1"),
        ('{{ .Task.Slot | printf "%s/%s" "a" }}', "a/1"),
        ("{{with .Node}}{{.Hostname}}{{end}}", "host-1"),
        ('{{if eq .Task.Slot "2"}}two{{else if eq .Task.Slot "1"}}one{{else}}more{{end}}', "one"),
        ("{{range .Service.Labels}}<{{.}}>{{end}}", "<front><2>"),
        ("a {{- /* gone */ -}} b", "ab"),
        ("{{(index .Service.Labels `x`)}}", "2"),
        ("{{.Service.Labels}}", "map[com.example.tier:front x:2]"),
        ("{{.Node.Platform}}", "{x86_64 linux}"),
        ("{{len .Service.Name}}", "3"),
        ('{{"{{"}}', "{{"),
    ],
)
def test_placeholders_are_filled_in(text: str, expected: str) -> None:
    assert expand(text, VALUES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{.Foo}}", 'template: expansion:1: executing "expansion" at <.Foo>: can\'t evaluate field Foo'),
        ("{{.Service.Labels.nope}}", 'map has no entry for key "nope"'),
        ("{{foo}}", 'template: expansion:1: function "foo" not defined'),
        ("a\n{{", "template: expansion:2: unclosed action"),
        ("{{if .Task}}", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{}}", "missing value for command"),
        ("{{.Task.Slot.X}}", "can't evaluate field X in type string"),
        ('{{"a" "b"}}', "unexpected"),
        ("{{(.Task.Slot}}", "unclosed left paren"),
        ("{{ index .Task.Slot 1 }}", "error calling index"),
    ],
)
def test_mistakes_are_told(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        expand(text, VALUES)
    assert message in str(caught.value)


@given(st.text(alphabet='{}.()|" -/*SITaeifndx$\n', max_size=60))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    try:
        expand(text, VALUES)
    except InvalidArgument:
        return


def test_nesting_has_a_limit() -> None:
    with pytest.raises(InvalidArgument):
        expand("{{if .Task}}" * 100 + "{{end}}" * 100, VALUES)
    with pytest.raises(InvalidArgument):
        expand("{{" + "(" * 5000 + ".Task" + ")" * 5000 + "}}", VALUES)
