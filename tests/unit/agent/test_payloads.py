"""Secrets and configs of a task, as files."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.agent.executor import expand_spec
from shoal.agent.payloads import Given, collect, files, has_files
from shoal.agent.worker import Dependencies
from shoal.api import v1 as api
from shoal.errors import InvalidArgument, NotFound, ShoalError, Unavailable
from shoal.runtime.types import SecretFile
from tests.unit.agent.fakes import NODE, task

CANARY = "canary-7f3a"
GOLANG = {"name": "golang"}


def using(
    *,
    secrets: dict[str, bytes] | None = None,
    configs: dict[str, bytes] | None = None,
    templates: tuple[str, ...] = (),
    driver: str = "golang",
) -> tuple[api.Task, Given]:
    """Return a task with a reference for each target, and what was assigned to it. The id is `id-` and the target."""
    made = task()
    made.spec.container.env.extend(["X={{.Task.Slot}}", "ALONE"])
    given_ = Given({}, {})
    for target, data in (secrets or {}).items():
        ref = made.spec.container.secrets.add(secret_id=f"id-{target}", secret_name=target)
        ref.file.CopyFrom(api.FileTarget(name=target, uid="0", gid="0", mode=0o444))
        given_.secrets[ref.secret_id] = api.Secret(id=ref.secret_id, spec={"data": data})
    for target, data in (configs or {}).items():
        config = made.spec.container.configs.add(config_id=f"id-{target}", config_name=target)
        config.file.CopyFrom(api.FileTarget(name=target, uid="0", gid="0", mode=0o444))
        given_.configs[config.config_id] = api.Config(id=config.config_id, spec={"data": data})
    for target in templates:
        owner = given_.secrets.get(f"id-{target}") or given_.configs[f"id-{target}"]
        owner.spec.templating.name = driver
    return made, given_


def rendered(made: api.Task, given_: Given) -> dict[str, bytes]:
    return {file.target: file.data for file in files(made, expand_spec(made, NODE), NODE, given_)}


def test_secrets_are_below_run_secrets_and_configs_below_the_root() -> None:
    made, given_ = using(
        secrets={"key": b"1", "/etc/key": b"2", "sub/key": b"3", "../x": b"4", "//two": b"5"},
        configs={"conf": b"6", "/srv/conf": b"7"},
    )
    assert rendered(made, given_) == {
        "/run/secrets/key": b"1",
        "/etc/key": b"2",
        "/run/secrets/sub/key": b"3",
        "/run/x": b"4",
        "/two": b"5",
        "/conf": b"6",
        "/srv/conf": b"7",
    }


def test_known_fault_48_owner_and_mode_are_as_asked() -> None:
    made, given_ = using(secrets={"a": b"x", "b": b"x", "c": b"x"})
    one, two, three = made.spec.container.secrets
    one.file.uid, one.file.gid, one.file.mode = "1000", "2000", 0o400
    two.file.uid, two.file.gid, two.file.mode = "", "", 0
    three.file.mode = 0o4755  # Docker too takes the permissions alone
    assert files(made, made.spec.container, NODE, given_) == (
        SecretFile("/run/secrets/a", b"x", 1000, 2000, 0o400),
        SecretFile("/run/secrets/b", b"x", 0, 0, 0),
        SecretFile("/run/secrets/c", b"x", 0, 0, 0o755),
    )


@pytest.mark.parametrize(
    ("uid", "words"),
    [
        ("root", 'strconv.Atoi: parsing "root": invalid syntax'),
        ("-1", 'strconv.Atoi: parsing "-1": value out of range'),
        (str(2**32 - 1), f'strconv.Atoi: parsing "{2**32 - 1}": value out of range'),
        ("9" * 5000, f'strconv.Atoi: parsing "{"9" * 5000}": invalid syntax'),
        ("\u0661", 'strconv.Atoi: parsing "\u0661": invalid syntax'),
    ],
)
def test_an_owner_is_a_number(uid: str, words: str) -> None:
    made, given_ = using(secrets={"a": b"x"})
    made.spec.container.secrets[0].file.uid = uid
    with pytest.raises(InvalidArgument) as raised:
        rendered(made, given_)
    assert str(raised.value) == words


@pytest.mark.parametrize("target", ["/", "//", "..", "a\0b"])
def test_a_target_is_a_place_for_a_file(target: str) -> None:
    made, given_ = using(configs={target: b"x"})
    with pytest.raises(InvalidArgument, match="invalid target file name"):
        rendered(made, given_)


def test_a_reference_for_the_runtime_is_no_file() -> None:
    made, given_ = using()
    made.spec.container.configs.add(config_id="c", config_name="c", runtime=api.RuntimeTarget())
    given_.configs["c"] = api.Config(id="c", spec={"data": b"x"})
    assert not has_files(made)
    assert files(made, made.spec.container, NODE, given_) == ()


def test_a_template_has_dockers_fields_and_functions() -> None:
    text = (
        '{{.Service.Name}} {{.Service.ID}} {{index .Service.Labels "tier"}} {{.Task.ID}} {{.Task.Name}} {{.Task.Slot}} '
        '{{.Node.ID}} {{.Node.Hostname}} {{.Node.Platform.OS}} {{env "X"}}.{{env "ALONE"}}.{{env "NONE"}} '
        '{{secret "key"}} {{config "other"}}'
    )
    made, given_ = using(
        secrets={"key": CANARY.encode()},
        configs={"site": text.encode(), "other": b"{{not rendered", "plain": b"{{.Service.Name}}"},
        templates=("site",),
    )
    assert rendered(made, given_) == {
        "/run/secrets/key": CANARY.encode(),
        "/site": (f"web s1 front t1 web.1.t1 1 node-1 host-1 linux 1.. {CANARY} {{{{not rendered".encode()),
        "/other": b"{{not rendered",
        "/plain": b"{{.Service.Name}}",
    }


def test_a_secret_may_be_a_template_too_and_bytes_stay_bytes() -> None:
    made, given_ = using(secrets={"a": b'\xff{{secret "b"}}\xfe\n', "b": b"\x00\xff"}, templates=("a", "b"))
    assert rendered(made, given_)["/run/secrets/a"] == b"\xff\x00\xff\xfe\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{", "template: expansion:1: unclosed action"),
        ("{{.Nope}}", 'template: expansion:1:2: executing "expansion" at <.Nope>: '),
        ('{{secret "nope"}}', 'at <secret "nope">: error calling secret: secret target nope not found'),
        ('{{config "nope"}}', 'at <config "nope">: error calling config: config target nope not found'),
    ],
)
def test_a_template_that_fails_is_refused_in_dockers_words(text: str, words: str) -> None:
    made, given_ = using(configs={"site": text.encode()}, templates=("site",))
    with pytest.raises(InvalidArgument) as raised:
        rendered(made, given_)
    said = str(raised.value)
    assert said.startswith("unable to get config from config store: failed to expand templated config id-site: ")
    assert words in said


def test_another_template_driver_is_unknown() -> None:
    made, given_ = using(configs={"site": b"x"}, templates=("site",), driver="jinja")
    with pytest.raises(InvalidArgument, match=r"templated config id-site: unrecognized template type$"):
        rendered(made, given_)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("secret", f"{{{{{CANARY}}}}}"),
        ("secret", f'line\n{{{{index "{CANARY}" "x"}}}}'),
        ("config", '{{range secret "key"}}{{end}}'),
        ("config", '{{secret (secret "key")}}'),
        ("config", '\n{{index .Service.Labels (secret "key") 1}}'),
    ],
)
def test_an_error_never_tells_a_secret(kind: str, text: str) -> None:
    made, given_ = using(
        secrets={"key": CANARY.encode(), **({"it": text.encode()} if kind == "secret" else {})},
        configs={"it": text.encode()} if kind == "config" else {},
        templates=("it",),
    )
    with pytest.raises(InvalidArgument) as raised:
        rendered(made, given_)
    assert CANARY not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert re.search(r"template: expansion:[12](:\d+)?: what is wrong there is not shown", str(raised.value))


@settings(deadline=None)
@given(data=st.binary(max_size=60) | st.text(max_size=40).map(lambda text: ("{{" + text + "}}").encode()))
def test_whatever_a_template_is_it_is_rendered_or_refused_and_the_words_can_be_sent(data: bytes) -> None:
    made, given_ = using(configs={"site": data}, templates=("site",))
    try:
        assert isinstance(rendered(made, given_)["/site"], bytes)
    except ShoalError as error:
        api.TaskStatus(err=str(error))


def test_nothing_shows_the_data_in_its_repr() -> None:
    made, given_ = using(secrets={"key": CANARY.encode()})
    (file,) = files(made, made.spec.container, NODE, given_)
    assert CANARY not in repr(file)
    assert CANARY not in repr(given_)


def test_a_task_is_given_what_its_spec_names_once_a_manager_has_told() -> None:
    made, given_ = using(secrets={"key": b"1"}, configs={"site": b"2"})
    held = Dependencies()
    assert has_files(made)
    with pytest.raises(Unavailable, match="keeps no secret on its disk"):
        collect(made, held)
    message = api.AssignmentsMessage(type=api.AssignmentsMessage.COMPLETE)
    held.apply(message)
    with pytest.raises(NotFound, match=r"^unable to get secret from secret store: secret id-key not found$"):
        collect(made, held)
    message.changes.add().assignment.secret.CopyFrom(given_.secrets["id-key"])
    held.apply(message)
    with pytest.raises(NotFound, match=r"^unable to get config from config store: config id-site not found$"):
        collect(made, held)
    message.changes.add().assignment.config.CopyFrom(given_.configs["id-site"])
    message.changes.add().assignment.secret.CopyFrom(api.Secret(id="another"))
    held.apply(message)
    assert collect(made, held) == given_
