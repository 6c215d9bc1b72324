"""A few calls to the API server, over the link from the machine."""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devcluster.errors import DevclusterError
from devcluster.plan import API_PORT, Plan

_TIMEOUT_SECONDS = 5
_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Answer:
    """Status 0 stands for no answer at all."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004

    def json(self) -> Any:  # noqa: ANN401
        """Return the parsed body."""
        return json.loads(self.body)


class ApiClient:
    """Calls as the cluster's administrator."""

    def __init__(self, plan: Plan) -> None:
        """Load the administrator's certificate."""
        self._host = plan.nodes[0].address
        self._context = ssl.create_default_context(cafile=str(plan.certs / "ca.crt"))
        self._context.load_cert_chain(plan.certs / "admin.crt", plan.certs / "admin.key")

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Make one call; an unreachable server is an answer with status 0."""
        connection = http.client.HTTPSConnection(self._host, API_PORT, timeout=_TIMEOUT_SECONDS, context=self._context)
        try:
            headers = {"Content-Type": "application/json", "Accept": "application/json"}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, str(error).encode())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """Read one path."""
        return self.call("GET", path)

    def create(self, collection: str, body: Mapping[str, Any]) -> None:
        """Create an object; one that exists is left as it is.

        Asked for first: a Service with an address of its own is refused before its name is looked at.

        Raises:
            DevclusterError: the server refused it.
        """
        if self.get(f"{collection}/{body['metadata']['name']}").ok:
            return
        answer = self.call("POST", collection, body)
        if not answer.ok and answer.status != _CONFLICT:
            message = f"POST {collection}: {answer.status} {answer.body.decode(errors='replace')[:500]}"
            raise DevclusterError(message)

    def is_ready(self) -> bool:
        """Tell whether the API server calls itself ready."""
        return self.get("/readyz").ok

    def ready_nodes(self) -> set[str]:
        """Return the names of the nodes whose Ready condition is True."""
        answer = self.get("/api/v1/nodes")
        return {item["metadata"]["name"] for item in answer.json()["items"] if _is_ready(item)} if answer.ok else set()


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
