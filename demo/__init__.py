"""The demo: three releases under constant traffic on a real Kubernetes. Run it as ``python -m demo``."""
