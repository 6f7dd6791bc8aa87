"""The `shoal.v1.Views` service, which runs while this manager leads: asks nodes, and gathers what they answer.

A question goes out in a message of the node's session (`dispatcher`), the answer is a call of the node. Owns the
questions that are open; each waits for so long at most.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from shoal.api.gen import views_pb2 as pb
from shoal.api.gen.views_grpc import ViewsBase
from shoal.api.ids import new_id
from shoal.errors import InvalidArgument, NotFound, ResourceExhausted
from shoal.manager.port.authorization import Caller
from shoal.manager.views.desk import MOST_NETWORKS, Question, concerned

if TYPE_CHECKING:
    from grpclib.server import Stream

    from shoal.store.store import Store

# A node whose kernel is busy answers in a second; one that is gone never does.
PATIENCE = 5.0  # seconds
MOST_QUESTIONS = 16

AskNode = Callable[[str, pb.ViewRequest], bool]


class ViewsServer(ViewsBase):
    """Asks nodes. `ask_node` sends a request to a node, and returns whether it has a session."""

    def __init__(
        self, store: "Store", ask_node: AskNode, *, caller: Callable[[], Caller], fresh_id: Callable[[], str] = new_id
    ) -> None:
        self._store = store
        self._ask_node = ask_node
        self._caller = caller
        self._fresh_id = fresh_id
        self._open: dict[str, tuple[Question, asyncio.Event]] = {}

    async def ask(self, network_ids: Sequence[str]) -> pb.ViewsReply:
        """Return what the nodes on these networks see of them; those that do not answer are named. InvalidArgument."""
        if len(network_ids) > MOST_NETWORKS:
            raise InvalidArgument(f"more than {MOST_NETWORKS} networks cannot be asked for at once")
        if len(self._open) >= MOST_QUESTIONS:
            raise ResourceExhausted(f"more than {MOST_QUESTIONS} questions to nodes at once: try again")
        question_id, done = self._fresh_id(), asyncio.Event()
        question = Question(concerned(self._store.view(), network_ids))
        request = pb.ViewRequest(id=question_id, network_ids=network_ids)
        self._open[question_id] = (question, done)
        try:
            for node_id in sorted(question.waiting):
                if not self._ask_node(node_id, request):
                    question.miss(node_id, "not asked: it has no session with this manager")
            if question.waiting:
                try:
                    async with asyncio.timeout(PATIENCE):
                        await done.wait()
                except TimeoutError:
                    pass  # the reply names who is missing
            return question.reply()
        finally:
            del self._open[question_id]

    def answer(self, node_id: str, answer: pb.ViewAnswer) -> None:
        """Take a node's answer. Raises NotFound where it was not asked, or not any more."""
        question, done = self._open.get(answer.id, (None, None))
        if question is None or done is None or not question.take(node_id, answer):
            raise NotFound("nobody waits for this answer")
        if not question.waiting:
            done.set()

    async def Ask(self, stream: "Stream[pb.ViewsRequest, pb.ViewsReply]") -> None:  # noqa: N802
        """Answer another manager."""
        request = await stream.recv_message()
        if request is None:
            raise InvalidArgument("the call carries no request")
        await stream.send_message(await self.ask(list(request.network_ids)))

    async def Answer(self, stream: "Stream[pb.ViewAnswer, pb.ViewAnswered]") -> None:  # noqa: N802
        """Take what a node sees."""
        answer = await stream.recv_message()
        if answer is None:
            raise InvalidArgument("the call carries no answer")
        self.answer(self._caller().node_id, answer)
        await stream.send_message(pb.ViewAnswered())
