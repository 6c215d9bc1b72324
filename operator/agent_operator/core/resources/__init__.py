"""Plain functions that build the Kubernetes objects of an agent."""
