from shoal.api import v1 as api
from shoal.api.predefined import LABEL, is_predefined, needs_ingress


def test_label_makes_a_network_predefined() -> None:
    annotations = api.Annotations(labels={LABEL: "true"})
    assert is_predefined(api.Network(spec=api.NetworkSpec(annotations=annotations)))
    assert not is_predefined(api.Network())


def test_only_ports_of_the_routing_mesh_need_it() -> None:
    host = api.PortConfig(published_port=80, publish_mode=api.PortConfig.HOST)
    mesh = api.PortConfig(published_port=81)
    assert not needs_ingress(api.ServiceSpec())
    assert not needs_ingress(api.ServiceSpec(endpoint=api.EndpointSpec(ports=[host])))
    assert needs_ingress(api.ServiceSpec(endpoint=api.EndpointSpec(ports=[host, mesh])))
