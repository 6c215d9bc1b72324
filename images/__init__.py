"""Builds Greylag's container images with buildah on a machine with no Docker, and hands them to a cluster.

Run it from the checkout as ``python -m images``; what it builds is described by the Dockerfile.
"""
