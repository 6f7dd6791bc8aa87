"""Every message and enum of `docker.swarmkit.v1` under one name, as in SwarmKit's own `api` package.

Service bases and stubs are in `shoal.api.gen.<file>_grpc`.
"""

# A star import is what makes this one namespace; the generated modules hold nothing but messages and enums.
from shoal.api.gen.ca_pb2 import *  # noqa: F403
from shoal.api.gen.control_pb2 import *  # noqa: F403
from shoal.api.gen.dispatcher_pb2 import *  # noqa: F403
from shoal.api.gen.health_pb2 import *  # noqa: F403
from shoal.api.gen.logbroker_pb2 import *  # noqa: F403
from shoal.api.gen.objects_pb2 import *  # noqa: F403
from shoal.api.gen.raft_pb2 import *  # noqa: F403
from shoal.api.gen.resource_pb2 import *  # noqa: F403
from shoal.api.gen.specs_pb2 import *  # noqa: F403
from shoal.api.gen.types_pb2 import *  # noqa: F403
from shoal.api.gen.watch_pb2 import *  # noqa: F403
