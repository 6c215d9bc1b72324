"""The demo's tool server in a namespace of the laboratory."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from demo.manifests import TOOLS, TOOLS_PORT, make_tool_server
from tests.support.asking import request
from tests.support.lab import Team


class Shop:
    """Tools of an HTTP API, and of an MCP server; what they were asked is counted."""

    def __init__(self, team: Team) -> None:
        team.apply(*make_tool_server(team.lab.images["modelserver"], team.namespace))
        service = team.find(f"/api/v1/namespaces/{team.namespace}/services/{TOOLS}")
        assert service is not None
        self._inside = f"http://{TOOLS}.{team.namespace}.svc.cluster.local:{TOOLS_PORT}"
        self._outside = f"http://{service['spec']['clusterIP']}:{TOOLS_PORT}"
        team.wait_for("the tool server", self._lives)

    def _lives(self) -> bool:
        try:
            return request(f"{self._outside}/health").status == 200
        except OSError:
            return False

    def api(self, name: str = "shop", **fields: Any) -> dict[str, Any]:
        """Source of the HTTP API's operations, such as shop.getOrder."""
        open_api = {"url": f"{self._inside}/openapi.json"}
        return {"name": name, "http": {"openAPI": open_api, "baseURL": self._inside}, **fields}

    def mcp(self, name: str = "office", **fields: Any) -> dict[str, Any]:
        """Source of the MCP server's tools, such as office.write_file."""
        return {"name": name, "mcp": {"url": f"{self._inside}/mcp"}, **fields}

    def calls(self, tool: str) -> Counter[str]:
        """How often a tool was called with which arguments, as JSON with sorted keys."""
        calls = request(f"{self._outside}/stats").document["calls"]
        return Counter(json.dumps(call["arguments"], sort_keys=True) for call in calls if call["tool"] == tool)


def call(tool: str, **arguments: Any) -> str:
    """Words that make the simulated model ask for a tool."""
    return f"[[call {tool} {json.dumps(arguments)}]]"


def steps(*words: str) -> str:
    """Words that make it ask for one thing after the other."""
    return " [[then]] ".join(words)
