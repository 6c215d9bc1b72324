"""Gateway: the sidecar that brings Envoy to what AgentRoutes and EndpointSlices say, and counts what only it sees."""
