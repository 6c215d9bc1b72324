"""An agent's tasks, over its own HTTP API."""
