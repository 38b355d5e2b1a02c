"""The employee process: loop, mind, memory, message pipeline, models and capabilities."""
