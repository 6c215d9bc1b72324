"""LiteLLM Router with the plainest loop: `python -m benchmarks.peers.litellm_side UPSTREAM`."""

from __future__ import annotations

import json
import sys
from typing import Any

from litellm import Router

from benchmarks.model_upstream import MODEL, TOOL
from benchmarks.peers.serving import INSTRUCTIONS, fetch_weather, serve

_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": TOOL,
            "description": "Weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def main(upstream: str) -> None:
    """Serve a loop around the router."""
    deployment = {"model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "none"}
    router = Router(model_list=[{"model_name": "m", "litellm_params": deployment}])

    async def answer(query: str) -> str:
        messages: list[Any] = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": query}]
        while True:
            message = (await router.acompletion(model="m", messages=messages, tools=_TOOLS)).choices[0].message
            if not message.tool_calls:
                return str(message.content)
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls:
                result = await fetch_weather(upstream, json.loads(call.function.arguments)["city"])
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    serve(answer)


if __name__ == "__main__":
    main(sys.argv[1])
