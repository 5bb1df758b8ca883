"""What a run writes beside its checkpoints: replies of the model as it learns, histograms of its margins."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from align.batch import PreferenceBatch
from align.plots import margin_histogram
from align.policy import Policy
from data_prep.files import replacing
from moltc.backbone.decoding import generate
from moltc.backbone.prompt import PromptTree
from moltc.backbone.tracking import RunTracker


class Samples(Callback):
    """Greedy replies to a few validation prompts, one JSONL file for each validation.

    They are the first by example id of those that leave room for a reply, so that files can be compared; with
    several processes, of those that the first one validates.

    Parameters
    ----------
    folder : where ``step-N.jsonl`` is written.
    count : how many prompts; 0: none.
    max_new_tokens : longest reply.
    """

    def __init__(self, folder: Path, count: int, max_new_tokens: int) -> None:
        if count < 0:
            raise ValueError(f"samples must be 0 or a number of prompts, not {count}")
        if max_new_tokens < 1:
            raise ValueError(f"sample_tokens must be at least 1, not {max_new_tokens}")
        self.folder, self.count, self.max_new_tokens = Path(folder), count, max_new_tokens
        self._seen: dict[int, tuple[int, PromptTree]] = {}  # id -> row and prompt

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: PreferenceBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        window = pl_module.trained_policy.language_model.max_positions or math.inf
        for number, row, tree in zip(batch.ids.tolist(), batch.rows.tolist(), batch.trees, strict=True):
            if len(tree.prompt_ids) + self.max_new_tokens <= window:
                self._seen[number] = (row, tree)
        self._seen = {number: self._seen[number] for number in sorted(self._seen)[: self.count]}

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        seen, self._seen = self._seen, {}
        if not seen or not trainer.is_global_zero or trainer.sanity_checking:
            return
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            records = self._replies(pl_module.trained_policy, seen)
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        with replacing(self.folder / f"step-{trainer.global_step}.jsonl") as partial:
            partial.write_text(text, encoding="utf-8")
        for tracker in trackers(trainer):
            tracker.log_table("val/samples", list(records[0]), [list(record.values()) for record in records])

    def _replies(self, policy: Policy, seen: dict[int, tuple[int, PromptTree]]) -> list[dict[str, Any]]:
        tokenizer = policy.language_model.tokenizer
        rows, trees = np.array([row for row, _ in seen.values()]), [tree for _, tree in seen.values()]
        encoded = policy.encoded(rows, policy.pack(trees))
        replies = generate(policy.model, trees, encoded, max_new_tokens=self.max_new_tokens)
        return [
            {
                "id": number,
                "prompt": tokenizer.decode(tree.prompt_ids),
                "chosen": tokenizer.decode(tree.completions[0], skip_special_tokens=True),
                "reply": tokenizer.decode(reply, skip_special_tokens=True),
            }
            for number, tree, reply in zip(seen, trees, replies, strict=True)
        ]


class MarginHistograms(Callback):
    """A histogram of reward margins for each validation of a loss that compares.

    Parameters
    ----------
    folder : where ``step-N.png`` is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        margins = reward_margins(pl_module.evaluated)
        if trainer.is_global_zero and not trainer.sanity_checking and len(margins):
            title = f"reward margins after step {trainer.global_step}"
            path = margin_histogram(self.folder / f"step-{trainer.global_step}.png", margins, title=title)
            for tracker in trackers(trainer):
                tracker.log_images({"val/margins": path})


def trackers(trainer: Any) -> list[RunTracker]:
    """The W&B runs among a trainer's loggers."""
    return [logger for logger in trainer.loggers if isinstance(logger, RunTracker)]


def reward_margins(output: Any) -> np.ndarray:
    """Chosen reward less the largest rejected one of each comparable example, float64 ``[n]``; none of losses
    that do not compare."""
    if output is None or output.rejected_rewards is None or output.batch.desirable is not None:
        return np.empty(0)
    batch, usable = output.batch, output.batch.usable
    hardest = output.rejected_rewards.masked_fill(~batch.scored[:, 1:], -np.inf).amax(1)
    return (output.chosen_rewards - hardest)[usable].double().numpy()
