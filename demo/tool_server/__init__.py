"""A shop as tools: an HTTP API with an OpenAPI description and an MCP server, for the demo and for tests."""
