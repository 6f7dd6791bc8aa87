from typing import Any

import pytest

from shoal.api import v1 as api
from shoal.errors import InvalidArgument, NotFound, PermissionDenied, Unavailable
from shoal.manager.logs.broker import (
    INCOMPLETE,
    LISTENERS_PER_NODE,
    MAX_LINES,
    Broker,
    Command,
    End,
    Share,
    Tell,
    check_selector,
)
from shoal.store.memory import Memory


def task(task_id: str, node_id: str = "", state: int = api.RUNNING, service_id: str = "web") -> api.Task:
    return api.Task(id=task_id, service_id=service_id, node_id=node_id, status=api.TaskStatus(state=state))  # type: ignore[arg-type]


def request(follow: bool = False, **selector: Any) -> api.SubscribeLogsRequest:
    return api.SubscribeLogsRequest(
        selector=api.LogSelector(**selector), options=api.LogSubscriptionOptions(follow=follow)
    )


def summary(commands: list[Command]) -> list[str]:
    """Commands as short texts."""
    lines = []
    for command in commands:
        if isinstance(command, Tell):
            close = " close" if command.message.close else ""
            lines.append(f"{command.listener} < {command.message.id}{close}")
        else:
            lines.append(f"{command.subscription_id} ends {command.warning.removeprefix(INCOMPLETE)}".strip())
    return lines


def publish(
    subscription_id: str, node_id: str = "n1", close: bool = False, task_id: str = "t1"
) -> api.PublishLogsMessage:
    line = api.LogMessage(context=api.LogContext(node_id=node_id, task_id=task_id), data=b"x\n")
    return api.PublishLogsMessage(subscription_id=subscription_id, messages=[line], close=close)


def listening(*node_ids: str) -> Broker:
    broker = Broker()
    for node_id in node_ids:
        assert broker.connect(f"L{node_id}", node_id) == []
    return broker


TWO = Memory.of([task("t1", "n1"), task("t2", "n2"), task("t3", "n2")])


def test_a_selector_must_select() -> None:
    with pytest.raises(InvalidArgument, match=r"^log selector must be provided$"):
        check_selector(api.SubscribeLogsRequest())
    with pytest.raises(InvalidArgument, match=r"^log selector must not be empty$"):
        check_selector(request())
    selectors: list[dict[str, Any]] = [{"service_ids": ["x"]}, {"node_ids": ["x"]}, {"task_ids": ["x"]}]
    for selector in selectors:
        check_selector(request(**selector))


def test_each_node_of_a_service_is_told_once_and_the_last_ends_it() -> None:
    broker = listening("n1", "n2", "n3")
    assert summary(broker.subscribe("s", request(service_ids=["web"]), TWO)) == ["Ln1 < s", "Ln2 < s"]
    assert broker.done("s", "n1") == []
    assert broker.done("s", "n1") == []
    assert broker.done("s", "n3") == []
    assert broker.done("s", "n2") == [End("s", "")]
    assert broker.done("s", "n2") == []


def test_a_node_is_told_the_selector_and_the_options() -> None:
    broker = listening("n1")
    asked = request(task_ids=["t1"])
    asked.options.tail = -11
    (command,) = broker.subscribe("s", asked, TWO)
    assert command == Tell("Ln1", api.SubscriptionMessage(id="s", selector=asked.selector, options=asked.options))


def test_services_nodes_and_tasks_are_united() -> None:
    broker = listening("n1", "n2", "n3")
    asked = request(service_ids=["web"], node_ids=["n3"], task_ids=["t1"])
    assert summary(broker.subscribe("s", asked, TWO)) == ["Ln3 < s", "Ln1 < s", "Ln2 < s"]


def test_nothing_that_is_selected_ends_at_once() -> None:
    broker = listening("n1")
    assert broker.subscribe("s", request(service_ids=["none"]), TWO) == [End("s", "")]
    assert broker.subscribe("s2", request(task_ids=["none"]), TWO) == [End("s2", "")]


@pytest.mark.parametrize("state", [api.NEW, api.PREPARING, api.STARTING])
def test_without_follow_tasks_of_a_service_that_never_ran_are_left_out(state: int) -> None:
    view = Memory.of([task("t1", "n1", state), task("t2", "n2", api.FAILED)])
    broker = listening("n1", "n2")
    assert summary(broker.subscribe("s", request(service_ids=["web"]), view)) == ["Ln2 < s"]
    # A task that is named is wanted in any state.
    assert summary(broker.subscribe("s2", request(task_ids=["t1"]), view)) == ["Ln1 < s2"]


def test_a_node_that_is_away_and_a_task_without_a_node_are_missing() -> None:
    view = Memory.of([task("t1", "n1"), task("t2", "n2"), task("t3", state=api.PENDING)])
    broker = listening("n2")
    asked = request(service_ids=["web"], task_ids=["t3"])
    assert summary(broker.subscribe("s", asked, view)) == ["Ln2 < s"]
    assert summary(broker.done("s", "n2")) == ["s ends node n1 is not available, task t3 has not been scheduled"]


def test_the_warning_is_swarms() -> None:
    (end,) = Broker().subscribe("s", request(node_ids=["n1"]), TWO)
    assert end == End(
        "s",
        "warning: incomplete log stream. some logs could not be retrieved for the following reasons: "
        "node n1 is not available",
    )


def test_a_node_that_goes_while_it_sends_is_missing() -> None:
    broker = listening("n1", "n2")
    broker.subscribe("s", request(service_ids=["web"]), TWO)
    broker.done("s", "n1")
    assert broker.disconnect("Ln1") == []
    assert summary(broker.disconnect("Ln2")) == ["s ends node n2 disconnected unexpectedly"]
    assert broker.disconnect("Ln2") == []


def test_a_node_that_changes_its_connection_goes_on() -> None:
    broker = listening("n1")
    broker.subscribe("s", request(task_ids=["t1"]), TWO)
    assert summary(broker.connect("new", "n1")) == ["new < s"]
    assert broker.disconnect("Ln1") == []
    assert summary(broker.done("s", "n1")) == ["s ends"]


def test_a_reader_that_goes_ends_it_at_the_nodes_that_have_not_finished() -> None:
    broker = listening("n1", "n2")
    broker.subscribe("s", request(service_ids=["web"]), TWO)
    broker.done("s", "n1")
    assert summary(broker.unsubscribe("s")) == ["Ln2 < s close"]
    assert broker.unsubscribe("s") == []
    assert summary(broker.connect("new", "n2")) == []


def test_a_subscription_that_follows_never_ends_by_itself() -> None:
    broker = listening("n1", "n2")
    assert summary(broker.subscribe("s", request(True, service_ids=["web"]), TWO)) == ["Ln1 < s", "Ln2 < s"]
    assert broker.done("s", "n1") == broker.done("s", "n2") == []
    assert broker.disconnect("Ln1") == []
    assert summary(broker.connect("again", "n1")) == ["again < s"]
    assert summary(broker.unsubscribe("s")) == ["Ln2 < s close", "again < s close"]


def test_following_reaches_the_nodes_of_later_tasks() -> None:
    broker = listening("n1", "n2", "n3")
    assert broker.subscribe("s", request(True, service_ids=["new"], task_ids=["t9"]), Memory()) == []
    assert broker.follows
    assert broker.saw_task(task("a", "", api.NEW, "new")) == []
    assert summary(broker.saw_task(task("a", "n1", api.ASSIGNED, "new"))) == ["Ln1 < s"]
    assert broker.saw_task(task("a", "n1", api.RUNNING, "new")) == []
    assert broker.saw_task(task("b", "n3", api.RUNNING, "other")) == []
    assert summary(broker.saw_task(task("t9", "n2", api.RUNNING, "other"))) == ["Ln2 < s"]
    assert broker.saw_task(task("c", "n4", api.RUNNING, "new")) == []
    assert summary(broker.connect("Ln4", "n4")) == ["Ln4 < s"]


def test_without_follow_later_tasks_do_not_count() -> None:
    broker = listening("n1", "n2")
    broker.subscribe("s", request(service_ids=["web"]), Memory.of([task("t1", "n1")]))
    assert not broker.follows
    assert broker.saw_task(task("t2", "n2")) == broker.rematch(TWO) == []


def test_after_missed_changes_all_tasks_are_matched_again() -> None:
    broker = listening("n1", "n2")
    broker.subscribe("s", request(True, service_ids=["web"]), Memory.of([task("t1", "n1")]))
    assert summary(broker.rematch(TWO)) == ["Ln2 < s"]
    assert broker.rematch(TWO) == []


def test_tasks_without_a_service_match_no_empty_name() -> None:
    broker = listening("n1")
    broker.subscribe("s", request(True, task_ids=["t"]), Memory())
    assert broker.saw_task(task("x", "n1", service_id="")) == []


def test_what_a_node_sends_is_checked_in_swarms_words() -> None:
    broker = listening("n1", "n2")
    broker.subscribe("s", request(task_ids=["t1"]), TWO)
    share = Share("n1")
    for _ in range(2):
        broker.publisher(publish("s"), share)
        assert share.subscription_id == "s"
    for message, current, error, text in (
        (publish(""), "", InvalidArgument, "missing subscription ID"),
        (publish("other"), "", NotFound, "unknown subscription ID"),
        (publish("other"), "s", InvalidArgument, "different subscription IDs in the same session"),
        (publish("s", "n2"), "", PermissionDenied, "invalid NodeID: expected=n1;received=n2"),
    ):
        with pytest.raises(error) as caught:
            broker.publisher(message, Share("n1", current))
        assert str(caught.value) == text


def test_a_node_that_was_not_asked_has_nothing_to_say() -> None:
    broker = listening("n1", "n2")
    broker.subscribe("s", request(task_ids=["t1"]), TWO)
    with pytest.raises(NotFound):
        broker.publisher(publish("s", "n2"), Share("n2"))


def test_a_message_has_so_many_lines_and_no_more() -> None:
    broker = listening("n1")
    broker.subscribe("s", request(task_ids=["t1"]), TWO)
    message = publish("s")
    message.messages.extend([message.messages[0]] * MAX_LINES)
    with pytest.raises(InvalidArgument, match="10000 lines"):
        broker.publisher(message, Share("n1"))
    del message.messages[0]
    broker.publisher(message, Share("n1"))


def test_the_last_message_of_a_node_may_hold_anything() -> None:
    broker = listening("n1")
    broker.subscribe("s", request(task_ids=["t1"]), TWO)
    broker.publisher(publish("s", "n2", close=True), Share("n1", "s"))


def test_lines_pass_that_are_of_tasks_on_the_node_which_the_subscription_selects() -> None:
    broker = listening("n1", "n2")
    view = Memory.of([task("t1", "n1"), task("t2", "n2"), task("other", "n1", service_id="db"), task("t4", "n1")])
    broker.subscribe("s", request(True, service_ids=["web"], task_ids=["t9"]), view)
    share = Share("n1", "s")
    passed = [
        line.context.task_id
        for task_id in ("t1", "t2", "other", "t9", "", "t4")
        for line in broker.lines(publish("s", task_id=task_id), share, view)
    ]
    assert passed == ["t1", "t4"]
    assert share.refused == 4
    assert broker.lines(publish("s", close=True), share, view) == []
    assert broker.lines(publish("gone"), Share("n1", "gone"), view) == []


def test_a_line_says_of_its_task_what_the_manager_knows() -> None:
    broker = listening("n1")
    broker.subscribe("s", request(node_ids=["n1"]), TWO)
    message = publish("s")
    message.messages[0].context.service_id = "forged"
    message.messages[0].timestamp.seconds = 1 << 60
    [line] = broker.lines(message, Share("n1", "s"), TWO)
    assert line == api.LogMessage(context=api.LogContext(node_id="n1", task_id="t1", service_id="web"), data=b"x\n")


def test_the_last_lines_of_a_task_that_was_removed_meanwhile_pass() -> None:
    broker, share = listening("n1"), Share("n1", "s")
    broker.subscribe("s", request(True, service_ids=["web"]), TWO)
    assert broker.lines(publish("s"), share, TWO)
    assert broker.lines(publish("s"), share, Memory())
    assert not broker.lines(publish("s"), Share("n1", "s"), Memory())


def test_a_node_listens_so_often_and_no_more() -> None:
    broker = Broker()
    for number in range(LISTENERS_PER_NODE):
        broker.connect(number, "n1")
    with pytest.raises(Unavailable):
        broker.connect("more", "n1")
    broker.connect("other", "n2")
    broker.disconnect(0)
    broker.connect("more", "n1")


def written(*lines: tuple[int, str], task_id: str = "t1") -> api.PublishLogsMessage:
    message = api.PublishLogsMessage(subscription_id="s")
    for second, text in lines:
        context = api.LogContext(node_id="n1", task_id=task_id)
        message.messages.add(context=context, timestamp={"seconds": second}, data=text.encode())
    return message


def test_a_follower_goes_on_where_it_was_when_a_node_comes_back() -> None:
    broker, first = listening("n1"), Share("n1")
    asked = request(True, service_ids=["web"])
    asked.options.tail = -6
    view = Memory.of([task("t1", "n1"), task("t4", "n1")])
    broker.subscribe("s", asked, view)
    broker.publisher(written((1, "a")), first)
    assert len(broker.lines(written((1, "a"), (2, "b"), (2, "c")), first, view)) == 3
    broker.disconnect("Ln1")
    [command] = broker.connect("again", "n1")
    assert isinstance(command, Tell)
    assert command.message.options == api.LogSubscriptionOptions(follow=True, since={"seconds": 2})
    second = Share("n1")
    broker.publisher(written((2, "b")), second)
    told = broker.lines(written((1, "a"), (2, "b"), (2, "c"), (2, "d"), (3, "e"), (3, "e")), second, view)
    assert [line.data for line in told] == [b"d", b"e", b"e"]
    assert [line.data for line in broker.lines(written((1, "x"), task_id="t4"), second, view)] == [b"x"]
