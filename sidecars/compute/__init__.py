"""Entry point and container file of the compute sidecar."""
