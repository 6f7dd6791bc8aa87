from shoal.cli.stack_listing import service_rows, stack_rows, task_rows

SERVICE = {
    "ID": "i",
    "Spec": {
        **{"Name": "s_web", "Labels": {"com.docker.stack.namespace": "s"}, "Mode": {"Global": {}}},
        "TaskTemplate": {"ContainerSpec": {"Image": "a:1@sha256:0"}},
    },
    "ServiceStatus": {"RunningTasks": 1, "DesiredTasks": 2},
    "Endpoint": {"Ports": [{"PublishedPort": 80, "TargetPort": 8080, "Protocol": "tcp"}, {"TargetPort": 1}]},
}


def test_stacks_are_counted() -> None:
    assert stack_rows([SERVICE, SERVICE]) == [{"Name": "s", "Services": 2}]


def test_services() -> None:
    assert service_rows([SERVICE]) == [
        {
            **{"ID": "i", "Name": "s_web", "Mode": "global", "Replicas": "1/2", "Image": "a:1@sha256:0"},
            "Ports": "*:80->8080/tcp, 1/tcp",
        }
    ]


def test_tasks_are_in_the_order_of_their_names_and_newest_first() -> None:
    tasks = [
        {"ID": "t1", "ServiceID": "i", "Slot": 10, "CreatedAt": "1", "NodeID": "n"},
        {"ID": "t2", "ServiceID": "i", "Slot": 2, "CreatedAt": "1", "Status": {"State": "failed", "Err": "why"}},
        {"ID": "t3", "ServiceID": "i", "Slot": 2, "CreatedAt": "2"},
    ]
    rows = task_rows(tasks, [SERVICE], [{"ID": "n", "Description": {"Hostname": "host"}}])
    assert [(row["ID"], row["Name"]) for row in rows] == [("t3", "s_web.2"), ("t2", "s_web.2"), ("t1", "s_web.10")]
    assert (rows[1]["State"], rows[1]["Error"], rows[2]["Node"]) == ("failed", "why", "host")
