"""PairPredictor: a saved model answers pairs of SMILES."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.molecules import MoleculeTable, featurise
from data_prep.properties import PropertyTexts
from moltc.answering import Answers, answer, calibrated
from moltc.calibration import SplitConformal
from moltc.collate import PairCollator, PairTable
from moltc.model import MolTC

MARGIN_LEVEL = 0.9


@dataclass(frozen=True)
class PairAnswer:
    """The answer to one pair.

    Attributes
    ----------
    smiles_a, smiles_b : as they were given.
    valid : whether the pair could be answered; if not, ``warnings`` says why and the rest is empty.
    value : the number, in ``unit``; None for yes/no questions.
    label : "yes" or "no"; None for numbers.
    probability : calibrated probability of yes; None for numbers.
    interval : the interval [L, U) that the answer names; None where it names none.
    margin : half-width of the 90 % prediction interval (split conformal, fitted on the valid split); None
        for yes/no, and where the valid split had too few pairs (fewer than nine).
    text : the answer sentence.
    reasoning : what the model wrote about each molecule first, if its chain of thought has that step.
    unit : of ``value``.
    warnings : what a reader should know.
    """

    smiles_a: str
    smiles_b: str
    valid: bool
    value: float | None = None
    label: str | None = None
    probability: float | None = None
    interval: tuple[float, float] | None = None
    margin: float | None = None
    text: str = ""
    reasoning: str = ""
    unit: str = ""
    warnings: tuple[str, ...] = ()


class PairPredictor:
    """Answers pairs of molecules with a trained model.

    >>> predictor = PairPredictor.from_pretrained("runs/freesolv/export")   # doctest: +SKIP
    >>> predictor.predict([("CCO", "O"), ("c1ccccc1", "O")])                # doctest: +SKIP
    """

    def __init__(self, model: MolTC) -> None:
        self.model = model.eval()
        calibration = model.calibration
        self._margin: float | None = None
        if "conformal" in calibration:
            half = SplitConformal.from_dict(calibration["conformal"]).half_width(MARGIN_LEVEL)
            self._margin = half if np.isfinite(half) else None

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu") -> PairPredictor:
        """Load an exported model; an incomplete or altered folder is refused."""
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"device {device!r} is not there: this machine shows no CUDA GPU; use 'cpu'")
        return cls(MolTC.from_pretrained(folder).to(device))

    @property
    def question(self) -> str:
        """What the model answers."""
        return self.model.task.kind.question_template(self.model.task.property)

    @property
    def roles(self) -> tuple[str, str]:
        """What the first and the second molecule of a pair are."""
        return self.model.task.kind.roles

    def predict(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        properties: PropertyTexts | None = None,
        batch_size: int = 64,
        progress: bool = False,
    ) -> list[PairAnswer]:
        """Answer pairs, in order; a pair that cannot be read gets an answer with ``valid`` false and the
        reason.

        Each distinct molecule is parsed once, and encoded once a batch. ``properties`` are texts about
        molecules for a model whose prompts hold them (teacher-forced chain of thought); others are computed.

        Raises
        ------
        ValueError : something in the list is no pair, ``batch_size`` is below 1, or ``properties`` are given
            to a model whose prompts do not hold them.
        """
        if properties is not None and not self.model.config.cot.teacher_force_properties:
            raise ValueError(
                "this model reads no property texts: leave properties out, or train one with "
                "cot.properties and cot.teacher_force_properties true"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        for n, pair in enumerate(pairs):
            if isinstance(pair, str) or len(pair) != 2:
                raise ValueError(f"pair {n} is {pair!r}: give two SMILES, such as ('CCO', 'O')")
        pairs = [(str(a or "").strip(), str(b or "").strip()) for a, b in pairs]
        strings = [s for pair in pairs for s in pair]
        read = featurise(strings, workers=1, progress=False) if strings else None
        if read is None:
            return []
        why = {reject.row: reject.reason for reject in read.rejects}
        rows = read.row_of.reshape(-1, 2)
        good = np.flatnonzero((rows >= 0).all(axis=1))
        answers: dict[int, PairAnswer] = {}
        for n, (a, b) in enumerate(pairs):
            reasons = [
                f"{role} {shorten(text)}: {why[2 * n + i]}"
                for i, (role, text) in enumerate(zip(self._titles, (a, b), strict=True))
                if 2 * n + i in why
            ]
            if reasons:
                answers[n] = PairAnswer(a, b, valid=False, warnings=tuple(reasons))
        if len(good):
            molecules = read.table
            if properties is not None:
                own, _ = properties.apply(molecules.smiles, molecules.keys, molecules.property_text)
                molecules = replace(molecules, property_text=own)
            table = self._table(molecules, rows[good])
            fits, too_long = self._within_window(table)
            for i, reason in too_long.items():
                a, b = pairs[good[i]]
                answers[int(good[i])] = PairAnswer(a, b, valid=False, warnings=(reason,))
            if len(fits):
                found = self._answer(table, fits, batch_size, progress)
                for i, row in enumerate(fits.tolist()):
                    answers[int(good[row])] = self._record(pairs[good[row]], found, i, table, row)
        return [answers[n] for n in range(len(pairs))]

    @property
    def _titles(self) -> tuple[str, str]:
        return self.model.task.kind.role_titles

    def _table(self, molecules: MoleculeTable, rows: np.ndarray) -> PairTable:
        task, count = self.model.task, len(rows)
        return PairTable(
            molecules=molecules,
            mol_a=rows[:, 0],
            mol_b=rows[:, 1],
            label=np.full(count, np.nan),
            split=np.full(count, "test"),
            family=task.family,
            property=task.property,
            dataset=task.dataset,
            pair_id=np.arange(count).astype(str),
        )

    def _within_window(self, table: PairTable) -> tuple[np.ndarray, dict[int, str]]:
        """Rows that the language model can read whole, and for each other one the reason."""
        limit, room = self.model.language_model.max_positions, self.model.room
        too_long = {}
        if limit is not None:
            for row in range(len(table)):
                tree = self.model.writer.tree(table.text(row), 0, 0, 0)
                if len(tree.prompt_ids) + room - 1 > limit:  # the last token is not read again
                    too_long[row] = (
                        f"the prompt has {len(tree.prompt_ids)} tokens and the answer up to {room}, the "
                        f"language model reads {limit}; ask about smaller molecules, or train with "
                        "prompt.smiles false"
                    )
        return np.array([row for row in range(len(table)) if row not in too_long], dtype=np.int64), too_long

    def _answer(self, table: PairTable, rows: np.ndarray, batch_size: int, progress: bool) -> Answers:
        from rich.progress import track

        lm = self.model.language_model
        pad_id = lm.tokenizer.pad_token_id or 0
        collate = PairCollator(
            table, self.model.writer, lm.sharing, targets=False, both_orders=True, pad_id=pad_id
        )
        starts = range(0, len(rows), batch_size)
        parts = []
        with torch.inference_mode():
            for start in track(starts, description="answering", disable=not progress):
                batch = collate(rows[start : start + batch_size].tolist())
                parts.append(answer(self.model, batch.to(lm.device)))
        return calibrated(self.model, Answers.concat(parts))

    def _record(
        self, pair: tuple[str, str], found: Answers, i: int, table: PairTable, row: int
    ) -> PairAnswer:
        task = self.model.task
        warnings = []
        for title, molecule in zip(self._titles, (table.mol_a[row], table.mol_b[row]), strict=True):
            fragments = int(table.molecules.num_fragments[molecule])
            if fragments > 1:
                warnings.append(
                    f"{title} has {fragments} fragments (a salt or mixture); it was answered as given"
                )
            smiles = table.molecules.smiles[molecule]
            if self.model.config.prompt.blanks(smiles):
                warnings.append(
                    f"the SMILES of {title} has {len(smiles)} characters: only its graph was read"
                )
        if found.reasoning_cut[i]:
            warnings.append(
                "the reasoning did not end within its budget; the answer was asked for after what was written"
            )
        common: dict[str, Any] = {
            "smiles_a": pair[0],
            "smiles_b": pair[1],
            "valid": True,
            "reasoning": found.reasoning[i],
            "unit": task.unit,
            "warnings": tuple(warnings),
        }
        if task.is_number:
            low, high = found.interval[i].tolist()
            return PairAnswer(
                **common,
                value=float(found.value[i]),
                interval=None if np.isnan(low) else (low, high),
                margin=self._margin,
                text=found.text[i],
            )
        label = "yes" if found.log_odds[i] > 0 else "no"
        return PairAnswer(**common, label=label, probability=float(found.value[i]), text=found.text[i])


def shorten(text: str, width: int = 60) -> str:
    """A SMILES as messages show it: quoted, and cut with its length named when it is long."""
    return repr(text) if len(text) <= width else f"{text[:width]!r}... ({len(text)} characters)"
