"""Entry point and container file of the browser sidecar."""
