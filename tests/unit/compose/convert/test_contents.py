import base64

import pytest

from shoal.compose.convert.contents import LONGEST, contents, references
from shoal.compose.errors import ComposeError
from shoal.compose.limits import Limits
from tests.unit.compose.files import Memory, project

WEB = "services: {w: {image: a, secrets: [s], configs: [{source: c, target: /c, uid: '5', mode: 0640}]}}\n"


def test_contents_come_from_files_variables_and_the_file_itself() -> None:
    text = WEB + "secrets: {s: {file: f}, t: {environment: T}, v: {driver: d}}\n"
    text += "configs: {c: {content: '$T'}, o: {external: true}}"
    limits = Limits(Memory({"f": b"\x00\xff"}))
    found = project(text, T="variable")
    secrets, configs = contents("secrets", found, limits), contents("configs", found, limits)
    assert [each.data for each in secrets] == [b"\x00\xff", b"variable", None]
    assert secrets[0].spec["Data"] == base64.b64encode(b"\x00\xff").decode()
    assert secrets[2].spec["Driver"] == {"Name": "d", "Options": {}}
    assert [(each.name, each.external, each.data) for each in configs] == [
        ("p_c", False, b"variable"),
        ("o", True, None),
    ]
    assert "variable" not in repr(secrets)
    assert "\\xff" not in repr(secrets)


@pytest.mark.parametrize(
    ("section", "how", "error"),
    [
        ("secrets", "{file: none}", "2:21: secrets.x.file: /project/none cannot be read: no such file or directory"),
        ("secrets", "{environment: NO}", "secrets.x.environment: the variable NO is not set"),
        ("secrets", "{file: empty}", "secrets.x: the secret is empty"),
        ("secrets", "{file: large}", "secrets.x.file: /project/large has more than 511,999 bytes"),
        ("configs", "{content: ''}", "configs.x: the config is empty"),
        ("secrets", "{external: false}", "secrets.x: says nothing of its content"),
    ],
)
def test_contents_that_no_swarm_takes(section: str, how: str, error: str) -> None:
    files = Memory({"empty": b"", "large": b"x" * (LONGEST["secrets"] + 1)})
    found = project(f"services: {{w: {{image: a}}}}\n{section}: {{x: {how}}}")
    with pytest.raises(ComposeError) as refused:
        contents(section, found, Limits(files))
    assert error in str(refused.value)


def test_the_largest_secret_is_taken() -> None:
    found = project("services: {w: {image: a}}\nsecrets: {x: {file: f}}")
    (made,) = contents("secrets", found, Limits(Memory({"f": b"x" * LONGEST["secrets"]})))
    assert len(made.data or b"") == 500 * 1024 - 1


def test_services_name_them_as_docker_does() -> None:
    service = project(WEB + "secrets: {s: {file: f}}\nconfigs: {c: {content: x}}").services["w"]
    ids = {"s": ("p_s", "id1"), "c": ("p_c-abc", "id2")}
    assert references("secrets", "w", service, ids) == [
        {"File": {"Name": "s", "UID": "0", "GID": "0", "Mode": 0o444}, "SecretID": "id1", "SecretName": "p_s"}
    ]
    assert references("configs", "w", service, ids) == [
        {"File": {"Name": "/c", "UID": "5", "GID": "0", "Mode": 0o640}, "ConfigID": "id2", "ConfigName": "p_c-abc"}
    ]
