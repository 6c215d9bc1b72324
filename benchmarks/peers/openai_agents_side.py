"""openai-agents: `python -m benchmarks.peers.openai_agents_side UPSTREAM`."""

from __future__ import annotations

import sys

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from benchmarks.model_upstream import MODEL
from benchmarks.peers.serving import INSTRUCTIONS, fetch_weather, serve


def main(upstream: str) -> None:
    """Serve an agent with one tool."""
    set_tracing_disabled(disabled=True)

    async def weather(city: str) -> str:
        """Weather of a city."""
        return await fetch_weather(upstream, city)

    client = AsyncOpenAI(base_url=f"{upstream}/v1", api_key="none")
    model = OpenAIChatCompletionsModel(MODEL, client)
    agent = Agent(name="weather", instructions=INSTRUCTIONS, model=model, tools=[function_tool(weather)])

    async def answer(query: str) -> str:
        return str((await Runner.run(agent, query)).final_output)

    serve(answer)


if __name__ == "__main__":
    main(sys.argv[1])
