from shoal.api import times
from shoal.api import v1 as api
from shoal.api.defaults import with_defaults


def test_every_default_is_filled_in_and_the_given_spec_left_alone() -> None:
    spec = api.ServiceSpec(task=api.TaskSpec(container=api.ContainerSpec(image="nginx")))
    full = with_defaults(spec)
    assert times.seconds(full.task.container.stop_grace_period) == 10
    assert full.task.container.HasField("pull_options")
    assert full.task.container.HasField("dns_config")
    assert full.task.HasField("resources")
    assert full.task.HasField("placement")
    assert (full.task.restart.condition, times.seconds(full.task.restart.delay)) == (api.RestartPolicy.ANY, 5)
    for config in (full.update, full.rollback):
        assert (config.parallelism, times.seconds(config.monitor)) == (1, 5)
        assert (config.failure_action, config.order) == (api.UpdateConfig.PAUSE, api.UpdateConfig.STOP_FIRST)
    assert not spec.HasField("update")


def test_what_is_given_stays() -> None:
    spec = api.ServiceSpec(
        task=api.TaskSpec(restart=api.RestartPolicy(condition=api.RestartPolicy.NONE, delay=times.duration(0))),
        update=api.UpdateConfig(parallelism=0),
    )
    full = with_defaults(spec)
    assert full.task.restart == spec.task.restart
    assert full.update == api.UpdateConfig(parallelism=0, monitor=times.duration(5))
    assert not full.task.HasField("container")
