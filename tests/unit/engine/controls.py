"""A Control that records its requests, and answers each RPC with what a test gave for it."""

from typing import Any

from google.protobuf.message import Message

from shoal.manager.control.rpcs import ControlRpcs


class RecordedControl(ControlRpcs):
    """`replies` has the replies by the RPC's name. An RPC without one is answered with an empty message."""

    def __init__(self, **replies: Message) -> None:
        self.replies = replies
        self.asked: list[Message] = []

    async def carry_out(self, rpc: Any, request: Any) -> Any:
        self.asked.append(request)
        return self.replies.get(rpc.name, rpc.reply_type())
