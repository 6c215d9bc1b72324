"""The operator: observes AgentDeployments, decides purely, and applies what it decided."""
