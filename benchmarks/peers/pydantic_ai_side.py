"""pydantic-ai: `python -m benchmarks.peers.pydantic_ai_side UPSTREAM`."""

from __future__ import annotations

import sys

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from benchmarks.model_upstream import MODEL
from benchmarks.peers.serving import INSTRUCTIONS, fetch_weather, serve


def main(upstream: str) -> None:
    """Serve an agent with one tool."""
    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=f"{upstream}/v1", api_key="none"))

    async def weather(city: str) -> str:
        """Weather of a city."""
        return await fetch_weather(upstream, city)

    agent = Agent(model, instructions=INSTRUCTIONS, tools=[weather])

    async def answer(query: str) -> str:
        return str((await agent.run(query)).output)

    serve(answer)


if __name__ == "__main__":
    main(sys.argv[1])
