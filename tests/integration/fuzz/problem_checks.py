"""What schemathesis checks of every answer beside its own: nothing of ours fails, and refusals say what is wrong."""

from __future__ import annotations

import schemathesis
from schemathesis import CheckContext, Response


@schemathesis.check
def refusals_are_problem_documents(ctx: CheckContext, response: Response, case: schemathesis.Case) -> bool | None:
    if response.status_code < 400:
        return None
    assert response.headers["content-type"][0] == "application/problem+json", response.headers
    document = response.json()
    assert document["type"].startswith("urn:greylag:problem:")
    assert document["status"] == response.status_code
    assert document["detail"]
    assert "Traceback" not in response.text
    return True
