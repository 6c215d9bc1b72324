"""A real Kubernetes for one Debian 12 machine, inside network namespaces of its own.

Run it from the checkout as ``python -m devcluster``; tests use :class:`devcluster.cluster.Cluster`.
"""
