"""An object as deep as the API server stores is read, and its agent alone is told so."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import json, sys
from agent_operator.__main__ import DEEPEST_OBJECT
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.core.validation import invalid_parts

sys.setrecursionlimit(DEEPEST_OBJECT)
deep = '{"a":' * 9_990 + "1" + "}" * 9_990
model = '{"name": "m", "baseURL": "http://x", "parameters": {"extra": %s}}' % deep
text = '{"agent": {"instructions": "x"}, "model": %s}' % model
spec = AgentDeploymentSpec.model_validate(json.loads(text))
print([part.path for part in invalid_parts(spec, {})])
"""


def test_the_deepest_object_that_is_stored_can_be_read_and_is_called_invalid():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.strip() == "['spec.model.parameters.extra']"
