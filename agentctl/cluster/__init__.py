"""The Kubernetes API as agentctl uses it."""
