"""What agentctl reads, from whatever API: a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
"""A JSON object as it came; it is only read."""
