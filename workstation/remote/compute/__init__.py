"""Compute over gRPC."""
