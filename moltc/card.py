"""The model card written beside saved weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from moltc.task import Task

VOTING = (
    "**It holds its training pairs**: what their molecules are compared by, and their answers, since similar "
    "pairs vote on new ones; one of them asked again is looked up. Pass it on only where these data may be "
    "passed on."
)


def model_card(
    tasks: Sequence[Task],
    language_model: dict[str, Any],
    config: dict[str, Any],
    results: dict[str, Any] | None,
) -> str:
    """Text of a model card: what the model answers, from what, how well, and how to ask it."""
    origin = [
        "**Its training labels were computed from a formula, not measured: "
        "it shows the software, it knows no chemistry.**",
        "",
    ]
    lines = [
        f"# MolTC model: {', '.join(f'{task.dataset}, {task.property}' for task in tasks)}",
        "",
        *(origin if any(task.computed for task in tasks) else []),
        *(line for task in tasks for line in (_answers(task), "")),
        f"Language model: {language_model['name']} ({language_model['type']}, "
        f"{language_model['parameters']:,} parameters, {language_model['trained']:,} trained).",
        "",
        *([VOTING, ""] if config["head"]["neighbours"] else []),
        "```python",
        "from moltc import PairPredictor",
        'predictor = PairPredictor.from_pretrained("this folder")',
        'predictor.predict([("CCO", "O")])',
        "```",
        "",
    ]
    if results:
        lines += ["## Test results", "", "```json", json.dumps(results, indent=2, sort_keys=True), "```", ""]
    lines += [
        "## Configuration",
        "",
        "```json",
        json.dumps(config, indent=2, sort_keys=True, default=str),
        "```",
        "",
    ]
    return "\n".join(lines)


def _answers(task: Task) -> str:
    """One sentence on what a task asks and how it is answered."""
    about = "a molecule" if len(task.kind.roles) == 1 else "a pair"
    asked = f"Answers the question about {about} ({' and '.join(task.kind.roles)}): "
    question = f"*{task.kind.question_template(task.property)}* "
    kind = task.kind.kind
    if kind == "text":
        return f"{asked}{question}Answers are free text."
    if kind == "class":
        return f"{asked}{question}Answers are one of {task.outputs} sentences."
    unit = f" in {task.unit}" if task.unit else ""
    return f"{asked}{question}Answers are text{unit}; training labels span {task.low:g} to {task.high:g}."
