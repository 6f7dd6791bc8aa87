"""The RPCs of Control in one typed table, for callers, for the leader that answers and for managers that forward.

In: the methods of the parts (`services`, `nodes`, ...), which give each RPC its types. Out: `ControlRpcs`, the
interface for callers. An implementation only has to define `carry_out`. Names, messages and paths on the wire come from
control.proto: an RPC that is not there cannot be in the table.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, Self, TypeVar, overload

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from shoal.api.gen import control_pb2
from shoal.manager.control.clusters import Clusters
from shoal.manager.control.configs import Configs
from shoal.manager.control.networks import Networks
from shoal.manager.control.nodes import Nodes
from shoal.manager.control.resources import Resources
from shoal.manager.control.secrets import Secrets
from shoal.manager.control.services import Services
from shoal.manager.control.tasks import Tasks
from shoal.manager.control.volumes import Volumes

Part = TypeVar("Part")
Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)

_SERVICE = control_pb2.DESCRIPTOR.services_by_name["Control"]


class Rpc(Generic[Part, Request, Reply]):
    """An RPC: the part and the method that answer it, its path and its message types.

    `repeatable`: the call may be sent again when it is unknown whether it was carried out.
    """

    def __init__(
        self,
        part: type[Part],
        method: Callable[[Part, Request], Coroutine[Any, Any, Reply]],
        *,
        repeatable: bool = True,
    ) -> None:
        self.part = part
        self.method = method
        self.repeatable = repeatable

    def __set_name__(self, owner: type, name: str) -> None:
        """Set the RPC by its name in snake case. Raises KeyError if Control has no RPC of that name."""
        wire = _SERVICE.methods_by_name[name.title().replace("_", "")]
        self.name = name
        self.path = f"/{_SERVICE.full_name}/{wire.name}"
        self.request_type = GetMessageClass(wire.input_type)
        self.reply_type = GetMessageClass(wire.output_type)

    @overload
    def __get__(self, control: None, owner: type) -> Self: ...

    @overload
    def __get__(self, control: "ControlRpcs", owner: type) -> Callable[[Request], Coroutine[Any, Any, Reply]]: ...

    def __get__(
        self, control: "ControlRpcs | None", owner: type
    ) -> Self | Callable[[Request], Coroutine[Any, Any, Reply]]:
        """Return the call of this RPC on an instance of Control; on the class, the RPC itself."""
        return self if control is None else partial(control.carry_out, self)


class ControlRpcs(ABC):
    """Every RPC of `docker.swarmkit.v1.Control` as an async method in snake case, from request to reply."""

    @abstractmethod
    async def carry_out(self, rpc: Rpc[Part, Request, Reply], request: Request) -> Reply:
        """Return the reply of an RPC. Raises errors of `shoal.errors`."""

    # A repeated create would bring back an object that somebody removed after the first one.
    create_service = Rpc(Services, Services.create_service, repeatable=False)
    get_service = Rpc(Services, Services.get_service)
    list_services = Rpc(Services, Services.list_services)
    list_service_statuses = Rpc(Services, Services.list_service_statuses)
    update_service = Rpc(Services, Services.update_service)
    remove_service = Rpc(Services, Services.remove_service)

    get_task = Rpc(Tasks, Tasks.get_task)
    list_tasks = Rpc(Tasks, Tasks.list_tasks)
    remove_task = Rpc(Tasks, Tasks.remove_task)

    get_node = Rpc(Nodes, Nodes.get_node)
    list_nodes = Rpc(Nodes, Nodes.list_nodes)
    update_node = Rpc(Nodes, Nodes.update_node)
    remove_node = Rpc(Nodes, Nodes.remove_node)

    get_cluster = Rpc(Clusters, Clusters.get_cluster)
    list_clusters = Rpc(Clusters, Clusters.list_clusters)
    update_cluster = Rpc(Clusters, Clusters.update_cluster)

    create_network = Rpc(Networks, Networks.create_network, repeatable=False)
    get_network = Rpc(Networks, Networks.get_network)
    list_networks = Rpc(Networks, Networks.list_networks)
    remove_network = Rpc(Networks, Networks.remove_network)

    create_secret = Rpc(Secrets, Secrets.create_secret, repeatable=False)
    get_secret = Rpc(Secrets, Secrets.get_secret)
    list_secrets = Rpc(Secrets, Secrets.list_secrets)
    update_secret = Rpc(Secrets, Secrets.update_secret)
    remove_secret = Rpc(Secrets, Secrets.remove_secret)

    create_config = Rpc(Configs, Configs.create_config, repeatable=False)
    get_config = Rpc(Configs, Configs.get_config)
    list_configs = Rpc(Configs, Configs.list_configs)
    update_config = Rpc(Configs, Configs.update_config)
    remove_config = Rpc(Configs, Configs.remove_config)

    create_volume = Rpc(Volumes, Volumes.create_volume, repeatable=False)
    get_volume = Rpc(Volumes, Volumes.get_volume)
    list_volumes = Rpc(Volumes, Volumes.list_volumes)
    update_volume = Rpc(Volumes, Volumes.update_volume)
    remove_volume = Rpc(Volumes, Volumes.remove_volume)

    create_extension = Rpc(Resources, Resources.create_extension, repeatable=False)
    get_extension = Rpc(Resources, Resources.get_extension)
    remove_extension = Rpc(Resources, Resources.remove_extension)
    create_resource = Rpc(Resources, Resources.create_resource, repeatable=False)
    get_resource = Rpc(Resources, Resources.get_resource)
    list_resources = Rpc(Resources, Resources.list_resources)
    update_resource = Rpc(Resources, Resources.update_resource)
    remove_resource = Rpc(Resources, Resources.remove_resource)


RPCS: tuple[Rpc[Any, Any, Any], ...] = tuple(rpc for rpc in vars(ControlRpcs).values() if isinstance(rpc, Rpc))
"""All RPCs of Control."""
