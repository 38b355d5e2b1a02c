"""What the employee and the control plane agree on about goals: the mark of a step's message, and the bounds."""

STEP = "empla:intention_step"
"""In a message's metadata: it is a step of an intention of the employee's own, and nobody's saying."""
MOST_ACTIVE_GOALS = 32
MOST_STEPS = 20


def step_event(intention_id: object, step: int) -> str:
    """What the message of a step is known by, so that it is one message however often it is stored."""
    return f"intention:{intention_id}:{step}"
