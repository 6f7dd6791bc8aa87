"""A certificate from the manager on this host, while it leads: through its store, and not through TLS.

So a certificate that has run out is renewed all the same where a swarm has one manager (SwarmKit: the local socket).
"""

from shoal.api import v1 as api
from shoal.api.ids import new_id
from shoal.errors import ShoalError, Unavailable
from shoal.manager.certificates.issuing import Joiners, admit
from shoal.manager.port.authorization import Caller
from shoal.store.memory import Transaction
from shoal.store.store import Store
from shoal.store.watch import WatchLagged


async def request(store: Store, node_id: str, cluster_id: str, csr: bytes) -> bytes:
    """Return the certificate for a renewal. Raises Unavailable where this manager does not lead."""

    def write(transaction: Transaction) -> None:
        caller = Caller(node_id, api.MANAGER, cluster_id, "")
        admitted = admit(transaction, api.IssueNodeCertificateRequest(csr=csr), caller, cluster_id, new_id, Joiners())
        if admitted.change is not None:
            transaction.apply([admitted.change])

    with store.watch(api.Node) as watch:
        await store.update(write)
        while True:
            node = store.view().nodes.get(node_id)
            if node is None or node.certificate.csr != csr:
                raise Unavailable("another request for a certificate took this one's place")
            state = node.certificate.status.state
            if state in (api.IssuanceStatus.ISSUED, api.IssuanceStatus.ROTATE):
                return bytes(node.certificate.certificate)
            if state == api.IssuanceStatus.FAILED:
                raise ShoalError(node.certificate.status.err)
            try:
                await watch.next()
            except WatchLagged as error:
                raise Unavailable("this manager is too busy to sign a certificate") from error
