"""Templates are expanded. `interop/test_templates.py` compares them with Go itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.agent.templates import Struct, expand
from shoal.errors import InvalidArgument

VALUES = Struct(
    "*template.Context",
    Service=Struct(ID="s1", Name="web", Labels={"com.example.tier": "front", "x": "2"}),
    Node=Struct(ID="n1", Hostname="host-1", Platform=Struct("template.Platform", Architecture="x86_64", OS="linux")),
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
        ("{{`a}}`}}", "a}}"),
        ('{{$x := .Task.Slot}}{{if true}}{{$x = "9"}}{{end}}{{$x}}', "9"),
        ("{{range $k, $v := .Service.Labels}}{{$k}}={{$v}};{{end}}", "com.example.tier=front;x=2;"),
        ("{{range $v := .Service.Labels}}{{$v}}{{break}}{{end}}", "front"),
        ("{{range 3}}{{.}}{{else}}none{{end}}", "012"),
        ("{{range 0}}{{.}}{{else}}none{{end}}", "none"),
        ("{{with print nil}}{{.}}{{end}}", "<nil>"),
        ('{{with ""}}a{{else with "b"}}{{.}}{{end}}', "b"),
        ("{{if and true 0 (index .Task.Slot 7)}}a{{else}}b{{end}}", "b"),
        ('{{slice .Service.Name 1}} {{html "<"}} {{js "\'"}} {{urlquery "a b"}}', "eb &lt; \\' a+b"),
        ("{{lt 1 2}} {{ge 'b' 'a'}} {{eq 97 'a'}}", "true true true"),
        ("{{1.5}} {{'a'}} {{\"\\x41\"}} {{0x1F}} {{1_000}} {{017}}", "1.5 97 A 31 1000 15"),
        ('{{len "é"}}', "2"),
        ("{{range .Service.Labels}}{{$.Task.ID}}{{end}}", "t1t1"),
        ("x}}", "x}}"),
        ("{{1}}{", "1{"),
    ],
)
def test_placeholders_are_filled_in(text: str, expected: str) -> None:
    assert expand(text, VALUES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{{.Foo}}",
            'template: expansion:1:2: executing "expansion" at <.Foo>: '
            "can't evaluate field Foo in type *template.Context",
        ),
        ("{{.Node.X}}", "field X in type struct { ID string; Hostname string; Platform template.Platform }"),
        ("{{.Service.X}}", "field X in type struct { ID string; Name string; Labels map[string]string }"),
        ("{{.Node.Platform.X}}", "can't evaluate field X in type template.Platform"),
        ("{{.Service.Labels.nope}}", 'map has no entry for key "nope"'),
        ("{{foo}}", 'template: expansion:1: function "foo" not defined'),
        ("a\n{{", "template: expansion:2: unclosed action"),
        ("{{if .Task}}", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{$x}}", 'undefined variable "$x"'),
        ("{{break}}", "{{break}} outside {{range}}"),
        ("{{.a-b}}", "bad character U+002D"),
        ('{{"\\q"}}', "invalid syntax"),
        ("{{1x}}", 'bad number syntax: "1x"'),
        ("{{not 1 2}}", "wrong number of args for not: want 1 got 2"),
        ("{{printf 1}}", "expected string; found 1"),
        ("a\n  {{ .Foo }}", "expansion:2:5: executing"),
        ("{{}}", "missing value for command"),
        ("{{.Task.Slot.X}}", "can't evaluate field X in type string"),
        ('{{"a" "b"}}', "can't give argument to non-function"),
        ("{{(.Task.Slot}}", 'unexpected "}}" in parenthesized pipeline'),
        ("{{ index .Task.Slot 1 }}", "error calling index"),
    ],
)
def test_mistakes_are_told(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        expand(text, VALUES)
    assert message in str(caught.value)


@given(
    st.one_of(
        st.text(alphabet='{}.()|" -/*SITaeifndx$\n', max_size=60),
        st.lists(
            st.sampled_from(
                [
                    "{{",
                    "}}",
                    " ",
                    "if ",
                    "range ",
                    "with ",
                    "else ",
                    "end",
                    "$x",
                    ":=",
                    "=",
                    ".Task",
                    ".Service.Labels",
                    "(",
                    ")",
                    "|",
                    "printf ",
                    '"%3d%*v"',
                    "1",
                    "'",
                    "`",
                    "-",
                    "/*",
                    "*/",
                    "break",
                    "nil",
                    "index ",
                    "len ",
                ]
            ),
            max_size=30,
        ).map("".join),
    )
)
def test_any_text_is_expanded_or_refused(text: str) -> None:
    try:
        expand(text, VALUES)
    except InvalidArgument:
        return


@pytest.mark.parametrize("text", ["{{range 1000000000}}{{end}}", "{{range 99999}}" + "x" * 100 + "{{end}}"])
def test_steps_and_size_have_limits(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"it takes more than|expands to more than"):
        expand(text, VALUES)


@pytest.mark.parametrize("text", ["{{define `x`}}{{end}}", "{{template `x`}}", "{{printf `%p` .Service.Labels}}"])
def test_what_is_not_there_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidArgument, match="not supported by Shoal"):
        expand(text, VALUES)


def test_nesting_has_a_limit() -> None:
    with pytest.raises(InvalidArgument):
        expand("{{if .Task}}" * 100 + "{{end}}" * 100, VALUES)
    with pytest.raises(InvalidArgument):
        expand("{{" + "(" * 5000 + ".Task" + ")" * 5000 + "}}", VALUES)
