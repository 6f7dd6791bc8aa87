from pathlib import Path

import pytest

from tests.harness.recorder import recorder
from tests.unit.cli.stacks import shoal, write

Captured = pytest.CaptureFixture[str]
TEXT = "services: {a: {image: a, secrets: [s], configs: [c]}}\nsecrets: {s: {file: s.txt}}\nconfigs: {c: {file: c.txt}}"


def deploy(url: str, folder: Path) -> None:
    assert shoal(url, "deploy", "-d", "-c", str(folder / "c.yaml"), "st") == 0


def test_changed_content_gets_an_object_of_its_own_and_the_service_moves_to_it(
    tmp_path: Path, capsys: Captured
) -> None:
    write(tmp_path, c_yaml=TEXT, s_txt="one", c_txt="one")
    with recorder(tmp_path) as (url, made):
        deploy(url, tmp_path)
        assert set(made.made["secrets"]) == {"st_s"}
        deploy(url, tmp_path)
        assert set(made.made["secrets"]) == {"st_s"}
        write(tmp_path, s_txt="two", c_txt="two")
        assert shoal(url, "diff", "-c", str(tmp_path / "c.yaml"), "st") == 1
        assert "+ secret st_s-" in capsys.readouterr().out
        deploy(url, tmp_path)
        (other,) = set(made.made["secrets"]) - {"st_s"}
        assert other.startswith("st_s-")
        container = made.made["services"]["st_a"]["TaskTemplate"]["ContainerSpec"]
        assert [each["SecretName"] for each in container["Secrets"]] == [other]
        assert container["Secrets"][0]["File"]["Name"] == "s"
        assert [each["ConfigName"] for each in container["Configs"]] != ["st_c"]
        assert "two" not in capsys.readouterr().out


def test_content_stays_in_its_object_once_the_first_one_is_removed(tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml=TEXT, s_txt="one", c_txt="one")
    with recorder(tmp_path) as (url, made):
        deploy(url, tmp_path)
        write(tmp_path, s_txt="two", c_txt="two")
        deploy(url, tmp_path)
        del made.made["secrets"]["st_s"], made.made["configs"]["st_c"]  # as a deploy that waits does
        before = {kind: dict(found) for kind, found in made.made.items()}
        deploy(url, tmp_path)
        assert made.made == before


def test_what_dockers_command_made_is_taken_over(tmp_path: Path) -> None:
    write(tmp_path, c_yaml=TEXT, s_txt="one", c_txt="one")
    with recorder(tmp_path) as (url, made):
        deploy(url, tmp_path)
        for kind in ("secrets", "configs"):
            for body in made.made[kind].values():
                body["Labels"] = {"com.docker.stack.namespace": "st"}
        write(tmp_path, c_txt="two")
        deploy(url, tmp_path)
        assert set(made.made["secrets"]) == {"st_s"}
        assert len(made.made["configs"]) == 2


@pytest.mark.parametrize("reason", [(500, "update out of sequence"), (400, "name must be valid"), (503, "no leader")])
def test_another_refusal_does_not_mean_other_content(reason: tuple[int, str], tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml=TEXT, s_txt="one", c_txt="one")
    with recorder(tmp_path) as (url, made):
        deploy(url, tmp_path)
        made.made["secrets"]["st_s"]["Labels"] = {"com.docker.stack.namespace": "st"}
        made.before = lambda method, path: reason if path.endswith("/update") else None
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "st") == 1
        assert f"secrets.s: {reason[1]}" in capsys.readouterr().err
        assert set(made.made["secrets"]) == {"st_s"}


def test_changed_content_of_a_secret_of_dockers_command_is_known_by_the_refusal(tmp_path: Path) -> None:
    write(tmp_path, c_yaml=TEXT, s_txt="one", c_txt="one")
    with recorder(tmp_path) as (url, made):
        deploy(url, tmp_path)
        made.made["secrets"]["st_s"]["Labels"] = {"com.docker.stack.namespace": "st"}
        refused = 400, "rpc error: code = InvalidArgument desc = only updates to Labels are allowed"
        made.before = lambda method, path: refused if path == "/secrets/secrets-st_s/update" else None
        deploy(url, tmp_path)
        assert len(made.made["secrets"]) == 2


def test_what_the_file_has_no_more_is_removed_with_prune_alone(tmp_path: Path) -> None:
    write(tmp_path, c_yaml=TEXT, s_txt="one", c_txt="one")
    flags = ("-q", "-c", str(tmp_path / "c.yaml"), "st")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, "deploy", *flags) == 0
        without_config = TEXT.replace(", configs: [c]", "").partition("\nconfigs")[0]
        write(tmp_path, c_yaml=without_config, s_txt="two")
        assert shoal(url, "deploy", *flags) == 0
        (secret,) = made.made["secrets"]
        assert secret.startswith("st_s-")
        assert set(made.made["configs"]) == {"st_c"}
        made.made["configs"]["by-hand"] = {"Name": "by-hand", "Labels": {"com.docker.stack.namespace": "st"}}
        assert shoal(url, "deploy", "--prune", *flags) == 0
        assert set(made.made["secrets"]) == {secret}
        assert set(made.made["configs"]) == {"by-hand"}


def test_an_external_one_must_be_there(tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml="services: {a: {image: a, secrets: [s]}}\nsecrets: {s: {external: true, name: o}}")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "st") == 1
        assert "c.yaml:2:11: secrets.s: there is no secret o" in capsys.readouterr().err
        assert not any(made.made.values())
