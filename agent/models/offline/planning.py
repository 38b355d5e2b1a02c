"""Plans for goals that say by which steps they are reached: `Publish it. Steps: write prices.md: …; list the files`."""

import re

from agent.mind.planning import MAX_STEPS, PlanProposal, ProposedPlan, ProposedProgress, ProposedStep
from agent.prompts import DataBlock, blocks

_STEPS = re.compile(r"^(?P<title>.*?)[.:]?\s*\bsteps:\s*(?P<steps>.+)$", re.IGNORECASE | re.DOTALL)


def proposed(prompt: str) -> PlanProposal:
    """A plan for each goal that tells its steps and has none that is open, was carried out or failed; else nothing.

    A goal that is not measured is reached when its plan is carried out.
    """
    shown = blocks(prompt)
    goals = [block for block in shown if block.kind == "goal"]
    state_of = {block.attributes["goal"]: "open" for block in shown if block.kind == "plan"}
    for block in shown:
        if block.kind == "ended_plan":
            state_of.setdefault(block.attributes["goal"], block.attributes["state"])
    plans = [plan for goal in goals if goal.attributes["number"] not in state_of and (plan := _plan(goal))]
    return PlanProposal(
        plans=tuple(plans[:5]),
        progress=tuple(
            ProposedProgress(goal=int(goal.attributes["number"]), progress=1.0, why="its plan is carried out")
            for goal in goals
            if state_of.get(goal.attributes["number"]) == "done" and "measured" not in goal.attributes
        ),
    )


def _plan(goal: DataBlock) -> ProposedPlan | None:
    match = _STEPS.match(goal.text)
    if match is None:
        return None
    instructions = [step.strip()[:4000] for step in match["steps"].split(";") if step.strip()][:MAX_STEPS]
    if not instructions:
        return None
    names = [f"{number}. {instruction}"[:100] for number, instruction in enumerate(instructions, 1)]
    steps = [
        ProposedStep(name=name, instruction=instruction, after=tuple(names[number - 1 : number]))
        for number, (name, instruction) in enumerate(zip(names, instructions, strict=True))
    ]
    title = match["title"].strip()[:200] or names[0]
    return ProposedPlan(goal=int(goal.attributes["number"]), title=title, why="the goal says so", steps=tuple(steps))
