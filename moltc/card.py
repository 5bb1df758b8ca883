"""The model card written beside saved weights."""

from __future__ import annotations

import json
from typing import Any

from moltc.task import Task


def model_card(
    task: Task, language_model: dict[str, Any], config: dict[str, Any], results: dict[str, Any] | None
) -> str:
    """Text of a model card: what the model answers, from what, how well, and how to ask it."""
    origin = (
        "**Its training labels were computed from a formula, not measured: "
        "it shows the software, it knows no chemistry.**\n\n"
        if task.computed
        else ""
    )
    unit = f" in {task.unit}" if task.unit else ""
    lines = [
        f"# MolTC model: {task.dataset}, {task.property}",
        "",
        f"{origin}Answers the question about a pair ({' and '.join(task.kind.roles)}): "
        f"*{task.kind.question_template(task.property)}* Answers are text{unit}; training labels span "
        f"{task.low:g} to {task.high:g}.",
        "",
        f"Language model: {language_model['name']} ({language_model['type']}, "
        f"{language_model['parameters']:,} parameters, {language_model['trained']:,} trained).",
        "",
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
