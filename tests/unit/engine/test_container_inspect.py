import dataclasses
from typing import Any

from shoal.engine.container_inspect import inspect
from shoal.runtime.types import Health, HealthConfig, Mount, Phase, Probe, Ulimit
from tests.unit.engine.host_fakes import container, image


def shown(image_: Any = None, exec_ids: list[str] | None = None, **values: Any) -> dict[str, Any]:
    return inspect(container(id="e" * 64, **values), image_, exec_ids or [], driver="overlayfs")


def test_state_tells_how_it_ended() -> None:
    state = shown(
        phase=Phase.EXITED, exit_code=137, oom_killed=True, started_at=100, finished_at=160.5, error="no such file"
    )["State"]
    assert state == {
        "Status": "exited",
        "Running": False,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": True,
        "Dead": False,
        "Pid": 0,
        "ExitCode": 137,
        "Error": "no such file",
        "StartedAt": "1970-01-01T00:01:40Z",
        "FinishedAt": "1970-01-01T00:02:40.5Z",
    }


def test_health_is_shown_where_there_is_a_probe() -> None:
    assert "Health" not in shown()["State"]
    health = shown(health=Health.UNHEALTHY, failing_streak=3, probes=(Probe(1.0, 2.0, 1, "refused"),))["State"][
        "Health"
    ]
    assert health == {
        "Status": "unhealthy",
        "FailingStreak": 3,
        "Log": [
            {
                "Start": "1970-01-01T00:00:01Z",
                "End": "1970-01-01T00:00:02Z",
                "ExitCode": 1,
                "Output": "refused",
            }
        ],
    }


def test_config_is_the_images_under_the_wishes() -> None:
    base = image(
        labels={"base": "1"},
        inner={
            "Cmd": ["serve"],
            "Entrypoint": ["/init"],
            "User": "www",
            "WorkingDir": "/srv",
            "StopSignal": "SIGQUIT",
            "ExposedPorts": {"80/tcp": {}},
            "Healthcheck": {"Test": ["CMD", "true"]},
        },
    )
    config = shown(base, env=("A=1",))["Config"]
    assert (config["Cmd"], config["Entrypoint"]) == (["serve"], ["/init"])
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("www", "/srv", "SIGQUIT")
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert config["Healthcheck"] == {"Test": ["CMD", "true"]}
    assert config["Labels"] == {"base": "1"}
    assert config["Env"] == ["A=1"]
    assert config["Hostname"] == "e" * 12
    own = shown(base, entrypoint=("sh",), health=HealthConfig(("NONE",), interval=1.5, retries=2), stop_timeout=4.0)
    assert (own["Config"]["Cmd"], own["Config"]["Entrypoint"]) == (None, ["sh"])
    assert own["Config"]["StopTimeout"] == 4


def test_host_config_tells_limits_and_rights() -> None:
    host = shown(
        memory_bytes=100,
        memory_swap_bytes=50,
        nano_cpus=5,
        pids_limit=9,
        cap_add=("CAP_SYS_TIME",),
        hosts=(("10.0.0.1", ("db", "cache")),),
        ulimits=(Ulimit("nofile", 1, 2),),
        sysctls={"net.core.somaxconn": "9"},
        init=True,
        seccomp="unconfined",
        no_new_privileges=True,
        read_only=True,
    )["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (100, 150, 5, 9)
    assert host["CapAdd"] == ["CAP_SYS_TIME"]
    assert host["CapDrop"] is None
    assert host["ExtraHosts"] == ["db:10.0.0.1", "cache:10.0.0.1"]
    assert host["Ulimits"] == [{"Name": "nofile", "Hard": 2, "Soft": 1}]
    assert host["Sysctls"] == {"net.core.somaxconn": "9"}
    assert host["SecurityOpt"] == ["no-new-privileges", "seccomp=unconfined"]
    assert (host["Init"], host["ReadonlyRootfs"]) == (True, True)
    plain = shown()["HostConfig"]
    assert not {"Sysctls", "Init", "Mounts"} & set(plain)
    assert (plain["MemorySwap"], plain["PidsLimit"]) == (0, None)


def test_mounts_are_shown_as_they_were_asked_for() -> None:
    base = container().config
    wanted = (
        Mount("bind", "/b", "/src", propagation="rshared", read_only=True),
        Mount("tmpfs", "/t", tmpfs_size_bytes=10),
        Mount("volume", "/v", "vol", no_copy=True, volume_driver="local", volume_options={"o": "x"}),
        Mount("volume", "/anonymous"),
    )
    assert base.mounts == ()

    row = dataclasses.replace(container(), config=dataclasses.replace(base, mounts=wanted))
    assert inspect(row, None, [], driver="overlayfs")["HostConfig"]["Mounts"] == [
        {"Type": "bind", "Source": "/src", "Target": "/b", "ReadOnly": True, "BindOptions": {"Propagation": "rshared"}},
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 10}},
        {
            "Type": "volume",
            "Source": "vol",
            "Target": "/v",
            "VolumeOptions": {"NoCopy": True, "DriverConfig": {"Name": "local", "Options": {"o": "x"}}},
        },
        {"Type": "volume", "Target": "/anonymous"},
    ]


def test_execs_and_network_are_there() -> None:
    whole = shown(exec_ids=["x"])
    assert whole["ExecIDs"] == ["x"]
    assert shown()["ExecIDs"] is None
    assert whole["NetworkSettings"]["Networks"].keys() == {"bridge"}
    assert whole["Name"] == "/web.1"


def test_profile_is_the_one_that_holds() -> None:
    assert shown()["AppArmorProfile"] == ""  # no AppArmor in the kernel, or not started yet
    assert shown(apparmor_profile="shoal-default")["AppArmorProfile"] == "shoal-default"
    assert shown(apparmor_profile="unconfined")["AppArmorProfile"] == "unconfined"
