"""Kubernetes: a cluster of its pods, and a scan handed to it."""
