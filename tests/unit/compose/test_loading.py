import pytest

from shoal.compose.errors import ComposeError
from shoal.compose.loading import load
from shoal.compose.project import Settings
from tests.unit.compose.files import HERE, HOME, Memory, project


def test_files_are_laid_over_one_another_and_paths_are_those_of_the_first() -> None:
    files = Memory({"a/one.yaml": "services: {w: {image: x}}", "b/two.yaml": "services: {w: {volumes: ['./d:/d']}}"})
    found = load(Settings(["a/one.yaml", "b/two.yaml"], {}, HERE, HOME), files)
    assert found.name == "a"
    assert found.services["w"].find("volumes")[0]["source"] == "/project/a/d"


def test_standard_input_is_a_file_of_this_folder() -> None:
    found = load(Settings(["-"], {}, HERE, HOME, stdin=b"services: {w: {image: x, volumes: ['./d:/d']}}"), Memory({}))
    assert found.services["w"].find("volumes")[0]["source"] == "/project/d"
    with pytest.raises(ComposeError, match="standard input:1:1: name_: is no key"):
        load(Settings(["-"], {}, HERE, HOME, stdin=b"name_: x"), Memory({}))
    with pytest.raises(ComposeError, match="only once"):
        load(Settings(["-", "-"], {}, HERE, HOME), Memory({}))


def test_the_environment_counts_more_than_dotenv() -> None:
    found = project("services: {w: {image: '$A-$B'}}", files={".env": "A=file\nB=file"}, A="own")
    assert found.services["w"].find("image") == "own-file"


def test_named_files_of_variables_stand_for_dotenv() -> None:
    files = Memory(
        {"c.yaml": "services: {w: {image: '$A-$B'}}", ".env": "A=no", "x.env": "A=x\nB=x", "y.env": "B=$A.y"}
    )
    found = load(Settings(["c.yaml"], {}, HERE, HOME, env_files=["x.env", "y.env"]), files)
    assert found.services["w"].find("image") == "x-x.y"
    with pytest.raises(ComposeError, match=r"/project/z.env: cannot be read: no such file"):
        load(Settings(["c.yaml"], {}, HERE, HOME, env_files=["z.env"]), files)


def test_a_missing_variable_is_warned_of_once_and_a_required_one_is_an_error() -> None:
    found = project("services: {w: {image: 'a$NO', hostname: '$NO'}}")
    assert [str(each) for each in found.warnings] == [
        "compose.yaml:1:23: services.w.image: the variable NO is not set, and stands for nothing"
    ]
    with pytest.raises(ComposeError, match=r"1:23: services.w.image: the variable NO is required: why"):
        project("services: {w: {image: '${NO:?why}'}}")


def test_variables_can_be_left_alone() -> None:
    settings = Settings(["c.yaml"], {"A": "x"}, HERE, HOME, interpolate=False)
    assert load(settings, Memory({"c.yaml": "services: {w: {image: '$A'}}"})).services["w"].find("image") == "$A"


def test_an_included_file_has_its_own_folder_and_variables() -> None:
    files: dict[str, str | bytes] = {
        "sub/inner.yaml": "services: {i: {image: 'x:$T', volumes: ['./d:/d']}}\nvolumes: {v: }",
        "sub/.env": "T=inner\nS=inner",
    }
    found = project("include: [sub/inner.yaml]\nservices: {w: {image: a}}", files=files, S="outer")
    assert found.services["i"].find("image") == "x:inner"
    assert found.services["i"].find("volumes")[0]["source"] == "/project/sub/d"
    assert set(found.volumes) == {"v"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("include: [none.yaml]", "compose.yaml:1:11: include: /project/none.yaml cannot be read: no such file"),
        ("include: [compose.yaml]", "compose.yaml:1:11: include[0]: a file includes itself: compose.yaml includes"),
        (
            "include: [a.yaml]",
            "b.yaml:1:11: include[0]: a file includes itself: a.yaml includes b.yaml includes",
        ),
        ("include: [c.yaml]\nservices: {c: {image: other}}", "services.c is in compose.yaml:2:12 already"),
        ("include: [{path: []}]", "include[0].path: names no file"),
        ("include: [{path: c.yaml, env_file: none.env}]", "/project/none.env cannot be read"),
        ("", "compose.yaml: is empty: a compose file has services"),
        ("[]", "compose.yaml:1:1: must be a mapping, and is a list"),
        ("a", "compose.yaml:1:1: must be a mapping, and is text"),
    ],
)
def test_what_cannot_be_loaded(text: str, error: str) -> None:
    files: dict[str, str | bytes] = {"a.yaml": "include: [b.yaml]", "b.yaml": "include: [a.yaml]"}
    files["c.yaml"] = "services: {c: {image: c}}"
    with pytest.raises(ComposeError) as found:
        project(text, files=files)
    assert error in str(found.value)


def test_includes_that_double_are_bounded() -> None:
    files: dict[str, str | bytes] = {f"f{n}.yaml": f"include: [f{n + 1}.yaml, f{n + 1}.yaml]" for n in range(20)}
    files["f20.yaml"] = "services: {a: {image: a}}"
    with pytest.raises(ComposeError, match="more than 1,000 files are read"):
        project("include: [f0.yaml]", files=files)
    deep: dict[str, str | bytes] = {f"f{n}.yaml": f"include: [f{n + 1}.yaml]" for n in range(60)}
    with pytest.raises(ComposeError, match="nested deeper than 32 files"):
        project("include: [f0.yaml]", files=deep)


def test_a_project_that_cannot_be_read_by_name() -> None:
    with pytest.raises(ComposeError, match="no compose file was named"):
        load(Settings([], {}, HERE, HOME), Memory({}))
