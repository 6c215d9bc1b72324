"""The service that runs one revision of an agent."""
