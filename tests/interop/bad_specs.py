"""Bad input as a table: the requests, and the status and message of Docker's answers.

Statuses and texts are Docker's (moby's API, SwarmKit's manager/controlapi). `test_bad_specs.py` also sends each row to
a real dockerd. Debian's dockerd 20.10 sometimes answers otherwise than the Docker whose texts we use; then its own
answer is in the row, too. Where we cannot do yet what Docker accepts, our answer is in the row.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from shoal.manager.control import unsupported
from tests.interop.conftest import IMAGE

CREATE = "/services/create"
UPDATE = "/services/{service}/update?version={version}"  # of the service `kept`
NODE = "/nodes/{node}/update?version={node_version}"

ACCEPTED = (201, "")
MEGABYTE = 1024 * 1024

Answer = tuple[int, str]
Json = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One request. `older` is dockerd 20.10's answer and `ours` Shoal's, if they differ from `answer`.

    A message that ends with `...` is only the beginning of the expected one.
    """

    name: str
    body: Json | str
    answer: Answer
    path: str = CREATE
    older: Answer | None = None
    ours: Answer | None = None

    def by_dockerd(self) -> Answer:
        """Return what dockerd 20.10 answers. It says less about JSON that it cannot read."""
        return self.older or (self.answer[0], self.answer[1].removeprefix("invalid JSON: "))


@dataclass(frozen=True)
class Command:
    """One `docker` command that its own checks refuse, without asking the daemon."""

    arguments: tuple[str, ...]
    message: str


def merged(base: Json, more: Json) -> Json:
    """Return a JSON object, with the fields of another one merged over it."""
    result = deepcopy(base)
    for key, value in more.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def spec(name: str = "bad", **more: Any) -> Json:
    """Return a service's spec with changes."""
    return merged({"Name": name, "TaskTemplate": {"ContainerSpec": {"Image": IMAGE}}}, more)


def template(**more: Any) -> Json:
    """Return a spec with changes in its task's template."""
    return spec(TaskTemplate=more)


def container(**more: Any) -> Json:
    """Return a spec with changes in its container."""
    return template(ContainerSpec=more)


def node(**more: Any) -> Json:
    """Return a manager's spec with changes."""
    return merged({"Role": "manager", "Availability": "active"}, more)


def invalid(text: str) -> Answer:
    """Return the answer of a manager that finds a spec wrong."""
    return 400, f"rpc error: code = InvalidArgument desc = {text}"


def plain(text: str) -> Answer:
    """Return the answer to an error without a code."""
    return 500, f"rpc error: code = Unknown desc = {text}"


def unimplemented(text: str) -> Answer:
    """Return the answer to a request that Swarm never supports."""
    return 501, f"rpc error: code = Unimplemented desc = {text}"


def not_yet(mode: str) -> Answer | None:
    """Return our answer to a mode of services that this version refuses. None if it supports the mode."""
    refused = getattr(unsupported, "MODES", {}).get(mode)
    return unimplemented(refused) if refused else None


def wrong_type(found: str, place: str, go_type: str) -> Answer:
    """Return the answer to JSON of a wrong type."""
    return 400, f"invalid JSON: json: cannot unmarshal {found} into Go struct field {place} of type {go_type}"


def constrained(text: str) -> Json:
    """Return a spec with one constraint."""
    return template(Placement={"Constraints": [text]})


def published(*ports: Json, mode: str = "vip") -> Json:
    """Return a spec with ports."""
    return spec(EndpointSpec={"Mode": mode, "Ports": list(ports)})


NUMBERS = (
    Row("replicas below zero", spec(Mode={"Replicated": {"Replicas": -1}}),
        wrong_type("number -1", "ReplicatedService.Mode.Replicated.Replicas", "uint64")),
    Row("replicas past all numbers", spec(Mode={"Replicated": {"Replicas": 2**64}}),
        wrong_type("number 18446744073709551616", "ReplicatedService.Mode.Replicated.Replicas", "uint64")),
    Row("replicas that were negative", spec(Mode={"Replicated": {"Replicas": 2**64 - 1}}),
        invalid("Number of replicas must be non-negative")),
    Row("half a replica", spec(Mode={"Replicated": {"Replicas": 1.5}}),
        wrong_type("number 1.5", "ReplicatedService.Mode.Replicated.Replicas", "uint64")),
    Row("concurrent tasks that were negative", spec(Mode={"ReplicatedJob": {"MaxConcurrent": 2**64 - 1}}),
        invalid("Maximum concurrent jobs must not be negative")),
    Row("completions that were negative",
        spec(Mode={"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 2**64 - 1}}),
        invalid("Total completed jobs must not be negative")),
    Row("more at once than in all", spec(Mode={"ReplicatedJob": {"MaxConcurrent": 5, "TotalCompletions": 2}}),
        ACCEPTED, ours=not_yet("replicated_job")),
    Row("limit of CPUs below zero", template(Resources={"Limits": {"NanoCPUs": -1}}),
        invalid("invalid cpu value -1e-09: Must be at least 0.001")),
    Row("reservation of too little CPU", template(Resources={"Reservations": {"NanoCPUs": 999_999}}),
        invalid("invalid cpu value 0.000999999: Must be at least 0.001")),
    Row("limit of memory below zero", template(Resources={"Limits": {"MemoryBytes": -1}}),
        invalid("invalid memory value -1: Must be at least 4MiB")),
    Row("reservation of too little memory", template(Resources={"Reservations": {"MemoryBytes": 4 * MEGABYTE - 1}}),
        invalid("invalid memory value 4194303: Must be at least 4MiB")),
    Row("memory past all numbers", template(Resources={"Limits": {"MemoryBytes": 2**63}}),
        wrong_type("number 9223372036854775808", "Limit.TaskTemplate.Resources.Limits.MemoryBytes", "int64")),
    Row("more memory than any host has", template(Resources={"Reservations": {"MemoryBytes": 2**63 - 1}}), ACCEPTED),
    Row("attempts below zero", template(RestartPolicy={"MaxAttempts": -1}),
        wrong_type("number -1", "RestartPolicy.TaskTemplate.RestartPolicy.MaxAttempts", "uint64")),
    Row("replicas a node below zero", template(Placement={"MaxReplicas": -1}),
        wrong_type("number -1", "Placement.TaskTemplate.Placement.MaxReplicas", "uint64")),
    Row("parallelism below zero", spec(UpdateConfig={"Parallelism": -1}),
        wrong_type("number -1", "UpdateConfig.UpdateConfig.Parallelism", "uint64")),
    Row("failure ratio below zero", spec(UpdateConfig={"MaxFailureRatio": -0.1}),
        invalid("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1")),
    Row("failure ratio above one", spec(UpdateConfig={"MaxFailureRatio": 1.5}),
        invalid("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1")),
    Row("rollback's ratio, which nobody looks at", spec(RollbackConfig={"MaxFailureRatio": 1.5}), ACCEPTED),
    Row("retries below zero", container(Healthcheck={"Test": ["CMD", "true"], "Retries": -1}),
        invalid("ContainerSpec: Retries in HealthConfig cannot be negative")),
    Row("port below zero", published({"TargetPort": -1}),
        wrong_type("number -1", "PortConfig.EndpointSpec.Ports.TargetPort", "uint32")),
    Row("generic resource by name", template(
        Resources={"Reservations": {"GenericResources": [{"NamedResourceSpec": {"Kind": "gpu", "Value": "one"}}]}}),
        ACCEPTED),
)  # fmt: skip

DURATIONS = (
    Row("delay of a restart below zero", template(RestartPolicy={"Delay": -1}),
        invalid("TaskSpec: restart-delay cannot be negative")),
    Row("window of restarts below zero", template(RestartPolicy={"Window": -1}),
        invalid("TaskSpec: restart-window cannot be negative")),
    Row("delay of updates below zero", spec(UpdateConfig={"Delay": -1}),
        invalid("TaskSpec: update-delay cannot be negative")),
    Row("watch over updates below zero", spec(UpdateConfig={"Monitor": -1}),
        invalid("TaskSpec: update-monitor cannot be negative")),
    Row("interval of seconds where nanoseconds are meant",
        container(Healthcheck={"Test": ["CMD", "true"], "Interval": 5}),
        invalid("ContainerSpec: Interval in HealthConfig cannot be less than 1ms")),
    Row("timeout of less than a millisecond", container(Healthcheck={"Test": ["CMD", "true"], "Timeout": 999_999}),
        invalid("ContainerSpec: Timeout in HealthConfig cannot be less than 1ms")),
    Row("duration as text", template(RestartPolicy={"Delay": "5s"}),
        wrong_type("string", "RestartPolicy.TaskTemplate.RestartPolicy.Delay", "time.Duration")),
    Row("half a nanosecond", spec(UpdateConfig={"Delay": 0.5}),
        wrong_type("number 0.5", "UpdateConfig.UpdateConfig.Delay", "time.Duration")),
)  # fmt: skip

CONSTRAINTS = (
    Row("no operator", constrained("node.role"), plain("constraint expected one operator from ==, !=")),
    Row("operator of another language", constrained("node.role=manager"),
        plain("constraint expected one operator from ==, !=")),
    Row("operator of numbers", constrained("node.labels.cores>=4"),
        plain("constraint expected one operator from ==, !=")),
    Row("no key", constrained("==manager"), plain("key '' is invalid")),
    Row("key of two words", constrained("node role==manager"), plain("key 'node role' is invalid")),
    Row("no value", constrained("node.role=="), plain("value '' is invalid")),
    Row("value of other characters", constrained("node.role==a;b"), plain("value 'a;b' is invalid")),
    Row("key that nobody knows, which no node satisfies", constrained("node.color==red"), ACCEPTED),
)  # fmt: skip

NAMES = (
    Row("name of 64 characters", spec("a" * 64), invalid("name must be 63 characters or fewer")),
    Row("name of 10,000 characters", spec("a" * 10_000), invalid("name must be 63 characters or fewer")),
    Row("name of 10,000 characters with a bad end", spec("a" * 9_999 + "!"),
        invalid("name must be valid as a DNS name component")),
    Row("name with a dot", spec("a.b"), invalid("name must be valid as a DNS name component")),
    Row("name that is no text", spec(Name=5), wrong_type("number", "ServiceSpec.Name", "string")),
    Row("empty image", container(Image=""), invalid("ContainerSpec: image reference must be provided")),
    Row("no container", {"Name": "bad", "TaskTemplate": {}}, (400, "mismatched Runtime and *Spec fields")),
    Row("image of two words", container(Image="two words"),
        invalid('ContainerSpec: "two words" is not a valid repository/tag')),
    Row("image of 10,000 characters", container(Image="a" * 10_000),
        invalid(f'ContainerSpec: "{"a" * 10_000}" is not a valid repository/tag')),
    Row("label of a megabyte", spec(Labels={"big": "x" * MEGABYTE}), ACCEPTED),
    Row("labels of two megabytes", spec(Labels={f"big{number}": "x" * MEGABYTE for number in range(2)}),
        plain("raft: raft message is too large and can't be sent")),
    Row("labels of eight megabytes", spec(Labels={f"big{number}": "x" * MEGABYTE for number in range(8)}),
        (500, "rpc error: code = ResourceExhausted desc = grpc: received message larger than max..."),
        ours=plain("raft: raft message is too large and can't be sent")),
)  # fmt: skip

KINDS = (
    Row("two modes", spec(Mode={"Replicated": {}, "Global": {}}), (400, "must specify only one service mode")),
    Row("job with an update config", spec(Mode={"GlobalJob": {}}, UpdateConfig={"Parallelism": 1}),
        invalid("Jobs may not have an update config")),
    Row("another mode", spec("kept", Mode={"Global": {}}), unimplemented("service mode change is not allowed"), UPDATE,
        ours=not_yet("global")),
    Row("another name", spec("other"), unimplemented("renaming services is not supported"), UPDATE),
    Row("the same port twice",
        published({"TargetPort": 80, "PublishedPort": 8080}, {"TargetPort": 81, "PublishedPort": 8080}),
        invalid("EndpointSpec: duplicate published ports provided")),
    Row("ingress without a virtual address",
        published({"TargetPort": 80, "PublishedPort": 8080}, mode="dnsrr"),
        invalid("EndpointSpec: port published with ingress mode can't be used with dnsrr mode")),
    Row("the same mount point twice",
        container(Mounts=[{"Type": "tmpfs", "Target": "/a"}, {"Type": "tmpfs", "Target": "/a"}]),
        invalid("ContainerSpec: duplicate mount point: /a")),
    Row("condition that nobody knows", template(RestartPolicy={"Condition": "sometimes"}),
        (400, 'invalid RestartCondition: "sometimes"')),
    Row("order that nobody knows", spec(UpdateConfig={"Order": "both"}), (400, "unrecognized update order both")),
    Row("action that nobody knows", spec(UpdateConfig={"FailureAction": "pray"}),
        (400, "unrecognized update failure action pray")),
    Row("fields that nobody knows", spec(Nonsense=1, TaskTemplate={"Nonsense": [1]}), ACCEPTED),
    Row("template that is a list", spec(TaskTemplate=[]),
        wrong_type("array", "ServiceSpec.TaskTemplate", "swarm.TaskSpec")),
    Row("node with labels of two megabytes", node(Labels={f"big{number}": "x" * MEGABYTE for number in range(2)}),
        plain("raft: raft message is too large and can't be sent"), NODE),
    Row("node of another role", node(Role="king"), (400, 'invalid Role: "king"'), NODE),
    Row("node of another availability", node(Availability="sometimes"), (400, 'invalid Availability: "sometimes"'),
        NODE),
    Row("the last manager demoted", node(Role="worker"),
        (400, "rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm"), NODE),
)  # fmt: skip

ROWS = (*NUMBERS, *DURATIONS, *CONSTRAINTS, *NAMES, *KINDS)

COMMANDS = (
    Command(
        ("--restart-delay", "5"), 'invalid argument "5" for "--restart-delay" flag: time: missing unit in duration'
    ),
    Command(("--update-monitor", "-"), 'invalid argument "-" for "--update-monitor" flag: time: invalid duration'),
    Command(("--health-interval", "-1s"), 'invalid argument "-1s" for "--health-interval" flag: duration cannot be'),
    Command(("--replicas", "-1"), 'invalid argument "-1" for "--replicas" flag'),
    Command(("--mode", "sometimes"), "Unknown mode: sometimes"),
    Command(("--max-concurrent", "2"), "max-concurrent can only be used with replicated-job mode"),
)
