from shoal.cli.stack_diff import Change, changes

NOW = {
    "Name": "s",
    "Labels": {},
    "TaskTemplate": {"ContainerSpec": {"Image": "a:1", "Isolation": "default"}, "RestartPolicy": {"Condition": "any"}},
    "Mode": {"Replicated": {"Replicas": 1}},
}


def test_equal_specs_have_no_changes() -> None:
    assert changes("x", NOW, NOW) == []
    then = {"Name": "s", "TaskTemplate": {"ContainerSpec": {"Image": "a:1", "Env": []}}, "Mode": {"Replicated": {}}}
    assert changes("x", NOW, then) == []


def test_changes_name_the_field() -> None:
    then = {
        "Name": "s",
        "TaskTemplate": {"ContainerSpec": {"Image": "a:2", "Args": ["x"]}},
        "Mode": {"Replicated": {"Replicas": 0}},
    }
    assert changes("x", NOW, then) == [
        Change("x", "Mode.Replicated.Replicas", 1, 0),
        Change("x", "TaskTemplate.ContainerSpec.Args", None, ["x"]),
        Change("x", "TaskTemplate.ContainerSpec.Image", "a:1", "a:2"),
    ]


def test_objects_that_come_and_go() -> None:
    assert changes("x", None, NOW) == [Change("x", "", None, "there")]
    assert changes("x", NOW, None) == [Change("x", "", "there", None)]
