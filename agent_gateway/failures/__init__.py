"""Failures that only the gateway sees: read from Envoy's log, counted for the operator."""
