"""Laws of the codec, for random messages made from the declarations themselves."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.api import times
from shoal.api import v1 as api
from shoal.engine.codec import cluster, common, kinds, node, secret, service
from shoal.engine.codec import task as task_codec
from shoal.engine.codec.container_spec import CONFIG_REFERENCE, CREDENTIAL_SPEC, MOUNT, TmpfsOptionList
from shoal.engine.codec.message import MessageCodec, decode_body
from shoal.engine.replies import json_bytes
from shoal.errors import InvalidArgument, Unimplemented
from tests.harness.hostile import messages

TEXTS = st.text(max_size=5).filter(lambda text: text.isprintable())


def value_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return JSON values that a kind accepts."""
    if isinstance(kind, MessageCodec):
        return object_of(kind)
    if isinstance(kind, TmpfsOptionList):
        return st.lists(st.lists(TEXTS.filter(bool), min_size=1, max_size=2), max_size=2)
    if isinstance(kind, kinds.Enum):
        return st.sampled_from(sorted(kind.values))
    if isinstance(kind, kinds.Texts):
        return st.lists(TEXTS, max_size=2)
    if isinstance(kind, kinds.ListOf):
        return st.lists(value_of(kind.item), max_size=2)
    if isinstance(kind, kinds.TextMap):
        return st.dictionaries(TEXTS, TEXTS, max_size=2)
    if isinstance(kind, kinds.Whole):
        return st.integers(kind.lowest, kind.highest)
    if isinstance(kind, kinds.Duration):
        # The range of a protobuf duration: up to ten thousand years, which is more than 64 bits of nanoseconds.
        return st.integers(-(1 << 62), 1 << 62)
    if isinstance(kind, kinds.Float32):
        return st.floats(0, 1, width=32)
    if isinstance(kind, kinds.Flag):
        return st.booleans()
    if isinstance(kind, kinds.Bytes):
        return st.binary(max_size=5).map(kinds.BYTES.encode)
    return TEXTS


def object_of(codec: MessageCodec[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return JSON objects that a codec accepts, with some of its fields."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in codec.fields:
        if field.inline:
            for inner in field.kind.fields:  # type: ignore[attr-defined]
                fields[inner.json] = value_of(inner.kind)
        elif field.set:
            fields[field.json] = value_of(field.kind)
    required = {"ContainerSpec", "TaskTemplate", "Role", "Availability", "Spread"} & set(fields)
    drawn = st.fixed_dictionaries({name: fields.pop(name) for name in required}, optional=fields)
    if codec is CONFIG_REFERENCE:
        return drawn.map(lambda given: {"Runtime": {}, **given} if "File" not in given else drop(given, "Runtime"))
    if codec is CREDENTIAL_SPEC:
        return st.sampled_from([{"Config": "c"}, {"File": "f"}, {"Registry": "r"}])
    if codec is common.GENERIC_RESOURCE:
        return drawn.map(lambda given: drop(given, "NamedResourceSpec") if len(given) > 1 else given)
    if codec is service.SERVICE_SPEC:
        modes = st.sampled_from([{}, {"Global": {}}, {"GlobalJob": {}}, {"Replicated": {"Replicas": 3}}])
        return st.builds(lambda given, mode: {**given, "Mode": mode}, drawn, modes)
    return drawn


def drop(given: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != name}


CODECS = [
    service.SERVICE_SPEC,
    node.NODE_SPEC,
    cluster.CLUSTER_SPEC,
    secret.SECRET_SPEC,
    secret.CONFIG_SPEC,
]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.go_name)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_what_is_read_and_shown_reads_the_same_again(codec: MessageCodec[Any], data: st.DataObject) -> None:
    message = codec.decode(data.draw(object_of(codec)))
    shown = json.loads(json_bytes(codec.encode(message)))
    again = codec.decode(shown)
    if codec is cluster.CLUSTER_SPEC:
        for hidden in ("signing_ca_cert", "signing_ca_key"):
            message.ca_config.ClearField(hidden)
    assert codec.encode(again) == shown
    again_by_hand = codec.cls.FromString(again.SerializeToString())
    assert codec.encode(again_by_hand) == shown


def names_of(codec: MessageCodec[Any]) -> set[str]:
    """Return the names of all fields of a codec and of the codecs below it."""
    names = {"Mode", "Replicated", "ReplicatedJob", "Pids", "Networks"}
    for field in codec.fields:
        names.add(field.json)
        kind: Any = field.kind
        while isinstance(kind, kinds.ListOf):
            kind = kind.item
        if isinstance(kind, MessageCodec):
            names |= names_of(kind)
    return names


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.go_name)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_whatever_is_sent_is_read_or_refused(codec: MessageCodec[Any], data: st.DataObject) -> None:
    names = st.sampled_from(sorted(names_of(codec)))
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("\ud800")
    values = st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=4), max_leaves=20
    )
    given = data.draw(st.dictionaries(names, values, max_size=5))
    if data.draw(st.booleans()):
        given = {"TaskTemplate": {**given, "ContainerSpec": given}, "Mode": given}
    try:
        codec.encode(decode_body(codec, given))
    except (InvalidArgument, Unimplemented):
        pass


def test_fields_are_found_in_any_case_and_unknown_ones_are_ignored() -> None:
    read = decode_body(common.PLATFORM, {"architecture": "amd64", "os": "linux", "Other": [1, {}]})
    assert read == api.Platform(architecture="amd64", os="linux")


def test_null_is_the_same_as_nothing() -> None:
    assert decode_body(common.PORT, {"Name": None, "TargetPort": None}) == api.PortConfig()
    assert decode_body(common.PORT, None) == api.PortConfig()


@pytest.mark.parametrize(
    ("codec", "given", "message"),
    [
        (common.PORT, [], "json: cannot unmarshal array into Go value of type swarm.PortConfig"),
        (
            common.PORT,
            {"TargetPort": "80"},
            "string into Go struct field PortConfig.TargetPort of type uint32",
        ),
        (
            common.PORT,
            {"TargetPort": -1},
            "number -1 into Go struct field PortConfig.TargetPort of type uint32",
        ),
        (common.PORT, {"TargetPort": 1.5}, "number 1.5 into Go struct field PortConfig.TargetPort of type uint32"),
        (common.PORT, {"TargetPort": True}, "cannot unmarshal bool into Go struct field PortConfig.TargetPort of type"),
        (common.ANNOTATIONS, {"Labels": {"a": 1}}, "number into Go struct field Annotations.Labels of type string"),
        (node.NODE_SPEC, {"Name": 5}, "number into Go struct field NodeSpec.Name of type string"),
        (service.SERVICE_SPEC, {"Labels": {"a": 1}}, "number into Go struct field ServiceSpec.Labels of type string"),
        (
            service.UPDATE_CONFIG,
            {"Delay": "5s"},
            "string into Go struct field UpdateConfig.Delay of type time.Duration",
        ),
        (service.UPDATE_CONFIG, {"Delay": 0.5}, "number 0.5 into Go struct field UpdateConfig.Delay of type time.Dur"),
        (MOUNT, {"Type": "x"}, 'invalid MountType: "x"'),
        (node.NODE_SPEC, {"Availability": "active"}, 'invalid Role: ""'),
        (node.NODE_SPEC, {"Role": "boss", "Availability": "active"}, 'invalid Role: "boss"'),
        (node.NODE_SPEC, {"Role": "worker", "Availability": ""}, 'invalid Availability: ""'),
        (CONFIG_REFERENCE, {"ConfigID": "x"}, "invalid Config: either File or Runtime should be set"),
        (CREDENTIAL_SPEC, {"File": "a", "Config": "b"}, 'cannot specify both "config" and "file" credential specs'),
        (CREDENTIAL_SPEC, {}, 'must either provide "file", "registry", or "config" for credential spec'),
    ],
)
def test_wrong_values_are_refused_in_docker_words(codec: Any, given: Any, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_body(codec, given)
    assert message in str(caught.value)


def test_durations_are_nanoseconds() -> None:
    read = decode_body(service.UPDATE_CONFIG, {"Delay": 1_500_000_000, "Monitor": 0, "MaxFailureRatio": 0.1})
    assert times.seconds(read.delay) == 1.5
    shown = service.UPDATE_CONFIG.encode(read)
    assert shown["Delay"] == 1_500_000_000
    assert "Monitor" not in shown
    assert shown["MaxFailureRatio"] == 0.1


def test_bind_options_that_docker_does_not_hand_on_are_dropped() -> None:
    read = decode_body(MOUNT, {"Type": "bind", "BindOptions": {"CreateMountpoint": True}})
    assert not read.HasField("bind_options")
    read = decode_body(MOUNT, {"Type": "bind", "BindOptions": {"Propagation": "rslave", "CreateMountpoint": True}})
    assert read.bind_options == api.Mount.BindOptions(propagation=api.Mount.BindOptions.RSLAVE)


SHOWN = (
    node.NODE, service.SERVICE, task_codec.TASK, task_codec.NETWORK, secret.SECRET, secret.CONFIG, cluster.CLUSTER,
)  # fmt: skip


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def check_numbers(value: Any) -> None:
    """Check that there is no number beyond 64 bits, which Go's clients could not read."""
    if isinstance(value, int):
        assert -(1 << 63) <= value < 1 << 64
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_numbers(inner)


@pytest.mark.parametrize("codec", SHOWN, ids=lambda codec: codec.cls.__name__)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_an_object_holds_it_is_shown(codec: MessageCodec[Any], data: st.DataObject) -> None:
    shown = json.loads(json_bytes(codec.encode(data.draw(messages(codec.cls)))), parse_constant=refuse)
    check_numbers(shown)


def test_a_task_in_no_known_state_at_no_time_is_shown() -> None:
    bad = api.Task(id="t1", status={"state": 700}, desired_state=2_000_000_000)  # type: ignore[arg-type]
    bad.status.timestamp.seconds = 1 << 60
    shown = task_codec.TASK.encode(bad)
    assert (shown["Status"]["State"], shown["DesiredState"]) == ("unknown", "unknown")
    assert shown["Status"]["Timestamp"] == "9999-12-31T23:59:59Z"
