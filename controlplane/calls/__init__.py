"""What the ControlPlane service answers, a module for each kind of thing that is asked for."""
