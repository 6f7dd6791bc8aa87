"""Correct bodies of the Engine API's create and update calls, with every field that they may have. Tests falsify
them.
"""

from typing import Any

SERVICE: dict[str, Any] = {
    "Name": "fuzzed",
    "Labels": {"a": "b"},
    "TaskTemplate": {
        "ContainerSpec": {
            "Image": "bb:latest",
            "Labels": {"a": "b"},
            "Command": ["sleep"],
            "Args": ["1d"],
            "Hostname": "h-{{.Task.Slot}}",
            "Env": ["A=b"],
            "Dir": "/tmp",
            "User": "0:0",
            "Groups": ["1"],
            "Privileges": {
                "CredentialSpec": None,
                "SELinuxContext": {"Disable": True},
                "Seccomp": {"Mode": "default", "Profile": ""},
                "AppArmor": {"Mode": "default"},
                "NoNewPrivileges": True,
            },
            "Init": False,
            "StopSignal": "KILL",
            "TTY": False,
            "OpenStdin": False,
            "ReadOnly": False,
            "Mounts": [
                {
                    "Type": "tmpfs",
                    "Target": "/t",
                    "ReadOnly": False,
                    "TmpfsOptions": {"SizeBytes": 4096, "Mode": 511, "Options": [["noexec"]]},
                },
                {
                    "Type": "volume",
                    "Source": "v",
                    "Target": "/v",
                    "VolumeOptions": {
                        "NoCopy": True,
                        "Labels": {"a": "b"},
                        "Subpath": "",
                        "DriverConfig": {"Name": "local", "Options": {}},
                    },
                },
            ],
            "StopGracePeriod": 1000000,
            "Healthcheck": {
                "Test": ["CMD", "true"],
                "Interval": 1000000000,
                "Timeout": 1000000000,
                "StartPeriod": 0,
                "StartInterval": 0,
                "Retries": 1,
            },
            "Hosts": ["10.0.0.1 a"],
            "DNSConfig": {"Nameservers": ["10.0.0.1"], "Search": ["a"], "Options": ["ndots:1"]},
            "Secrets": [],
            "Configs": [],
            "Isolation": "default",
            "Sysctls": {"net.ipv4.ip_forward": "1"},
            "CapabilityAdd": ["CAP_NET_RAW"],
            "CapabilityDrop": ["CAP_CHOWN"],
            "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 1024}],
            "OomScoreAdj": 0,
        },
        "Resources": {
            "Limits": {"NanoCPUs": 1000000000, "MemoryBytes": 100000000, "Pids": 100},
            "Reservations": {
                "NanoCPUs": 1000000,
                "MemoryBytes": 8000000,
                "GenericResources": [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 1}}],
            },
        },
        "RestartPolicy": {"Condition": "on-failure", "Delay": 1000000000, "MaxAttempts": 1, "Window": 0},
        "Placement": {
            "Constraints": ["node.role==manager"],
            "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.a"}}],
            "MaxReplicas": 1,
            "Platforms": [{"Architecture": "amd64", "OS": "linux"}],
        },
        "Networks": [],
        "LogDriver": {"Name": "json-file", "Options": {}},
        "ForceUpdate": 1,
        "Runtime": "container",
    },
    "Mode": {"Replicated": {"Replicas": 1}},
    "UpdateConfig": {
        "Parallelism": 1,
        "Delay": 1000,
        "FailureAction": "pause",
        "Monitor": 1000,
        "MaxFailureRatio": 0.5,
        "Order": "stop-first",
    },
    "RollbackConfig": {"Parallelism": 1, "Delay": 0, "FailureAction": "pause", "Order": "start-first"},
    "EndpointSpec": {
        "Mode": "dnsrr",
        "Ports": [],
    },
}
SECRET: dict[str, Any] = {"Name": "fuzzed", "Labels": {"a": "b"}, "Data": "aGk=", "Driver": None, "Templating": None}
NETWORK: dict[str, Any] = {
    "Name": "fuzzed",
    "CheckDuplicate": True,
    "Driver": "overlay",
    "Internal": False,
    "Attachable": False,
    "Ingress": False,
    "Scope": "swarm",
    "EnableIPv6": False,
    "ConfigOnly": False,
    "ConfigFrom": {"Network": ""},
    "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1"}], "Options": {}},
    "Options": {"a": "b"},
    "Labels": {"a": "b"},
}
VOLUME: dict[str, Any] = {
    "Name": "fuzzed",
    "Driver": "local",
    "DriverOpts": {},
    "Labels": {"a": "b"},
    "ClusterVolumeSpec": None,
}
CONTAINER: dict[str, Any] = {"Image": "bb:latest", "Cmd": ["true"], "HostConfig": {"Memory": 4096}, "Tty": False}
NODE: dict[str, Any] = {"Name": "n", "Labels": {"a": "b"}, "Role": "manager", "Availability": "active"}
SWARM: dict[str, Any] = {
    "Name": "default",
    "Labels": {},
    "Orchestration": {"TaskHistoryRetentionLimit": 5},
    "Raft": {
        "SnapshotInterval": 10000,
        "KeepOldSnapshots": 0,
        "LogEntriesForSlowFollowers": 500,
        "ElectionTick": 10,
        "HeartbeatTick": 1,
    },
    "Dispatcher": {"HeartbeatPeriod": 5000000000},
    "CAConfig": {"NodeCertExpiry": 7776000000000000, "ExternalCAs": [], "SigningCACert": "", "ForceRotate": 0},
    "TaskDefaults": {},
    "EncryptionConfig": {"AutoLockManagers": False},
}
EXEC: dict[str, Any] = {
    "AttachStdin": False,
    "AttachStdout": True,
    "Tty": False,
    "Cmd": ["true"],
    "Env": ["A=b"],
    "User": "0",
    "WorkingDir": "/",
    "DetachKeys": "ctrl-p",
    "Privileged": False,
    "ConsoleSize": [10, 10],
}

# The path of each. `{x}` stands for an id, `version` for the object's version.
PORT: dict[str, Any] = {
    "Name": "", "Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"
}  # fmt: skip
WITH_PORT = {**SERVICE, "Name": "made", "EndpointSpec": {"Mode": "vip", "Ports": [PORT]}}
"""What this release refuses, after it has read it."""


def with_files(secret_id: str, config_id: str) -> dict[str, Any]:
    """Return a service that uses a secret and a config with these ids, both named `fuzzed`."""
    target = {"UID": "0", "GID": "0", "Mode": 0o444}
    template = SERVICE["TaskTemplate"]
    container = {
        **template["ContainerSpec"],
        "Secrets": [{"File": {"Name": "s", **target}, "SecretID": secret_id, "SecretName": "fuzzed"}],
        "Configs": [
            {"File": {"Name": "/c", **target}, "ConfigID": config_id, "ConfigName": "fuzzed"},
            {"Runtime": {}, "ConfigID": config_id, "ConfigName": "fuzzed"},
        ],
        "Privileges": {"CredentialSpec": {"Config": config_id}},
    }
    return {**SERVICE, "Name": "with-files", "TaskTemplate": {**template, "ContainerSpec": container}}


CALLS: dict[str, dict[str, Any]] = {
    "/services/create": {**SERVICE, "Name": "made"},
    "/services/{service}/update?version={version}": SERVICE,
    "/secrets/create": {**SECRET, "Name": "made"},
    "/secrets/{secret}/update?version={version}": SECRET,
    "/configs/create": {**SECRET, "Name": "made"},
    "/configs/{config}/update?version={version}": SECRET,
    "/networks/create": NETWORK,
    "/volumes/create": VOLUME,
    "/containers/create?name=fuzzed": CONTAINER,
    "/containers/{container}/update": CONTAINER,
    "/nodes/{node}/update?version={version}": NODE,
    "/swarm/update?version={version}": SWARM,
}
LISTS = ("/services", "/tasks", "/nodes", "/secrets", "/configs", "/networks", "/swarm", "/info", "/volumes")
