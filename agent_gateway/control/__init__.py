"""Brings Envoy to what was watched, and answers the operator, the kubelet and Prometheus."""
