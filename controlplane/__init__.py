"""The control plane: receives, routes, manages lifecycle and health; never runs employee logic."""
