"""PairPredictor: a saved model answers pairs of SMILES."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.molecules import Featurised, MoleculeTable, featurise
from data_prep.properties import PropertyTexts
from moltc.answering import Answers, answer, calibrated
from moltc.calibration import SplitConformal
from moltc.collate import PairCollator
from moltc.model import MolTC
from moltc.pair_table import Asked, PairTable
from moltc.task import Task

MARGIN_LEVEL = 0.9


@dataclass(frozen=True)
class PairAnswer:
    """The answer to one pair.

    Attributes
    ----------
    smiles_a, smiles_b : as they were given.
    valid : whether the pair could be answered; if not, ``warnings`` says why and the rest is empty.
    value : the number, in ``unit``; None where answers are none.
    label : "yes" or "no", or the sentence of a class; None for numbers and free text.
    probability : calibrated probability of yes, or of the class; None for numbers and free text.
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

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu") -> PairPredictor:
        """Load an exported model; an incomplete or altered folder is refused."""
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"device {device!r} is not there: this machine shows no CUDA GPU; use 'cpu'")
        return cls(MolTC.from_pretrained(folder).to(device))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of what the model answers."""
        return self.model.names

    def task(self, name: str | None = None) -> Task:
        """A task by name; None means the only one."""
        return self.model.tasks[self.model.task_number(name)]

    @property
    def question(self) -> str:
        """What the model answers, of a model with one task."""
        return self.task().kind.question_template(self.task().property)

    @property
    def roles(self) -> tuple[str, ...]:
        """What the first and the second molecule of a pair are, of a model with one task."""
        return self.task().kind.roles

    def predict(
        self,
        pairs: Sequence[tuple[str, ...] | str],
        *,
        task: str | None = None,
        queries: Sequence[str] | None = None,
        properties: PropertyTexts | None = None,
        batch_size: int = 64,
        progress: bool = False,
    ) -> list[PairAnswer]:
        """Answer pairs, in order; a pair that cannot be read gets an answer with ``valid`` false and the
        reason.

        Each distinct molecule is parsed once, and encoded once a batch.

        Parameters
        ----------
        pairs : two SMILES each, in the order of the task's roles; one where the task is about one molecule.
        task : which question, of a model that answers several.
        queries : what each pair asks, for questions that leave it open (a side effect).
        properties : texts about molecules for a model whose prompts hold them (teacher-forced chain of
            thought); others are computed.

        Raises
        ------
        ValueError : something in the list is no pair, ``batch_size`` is below 1, the task is not known,
            queries are missing or not asked for, or ``properties`` are given to a model whose prompts do not
            hold them.
        """
        number = self.model.task_number(task)
        writer = self.model.writers[number]
        slots = len(writer.task.kind.roles)
        self._check_queries(writer.task, pairs, queries)
        if properties is not None and not writer.cot.teacher_force_properties:
            raise ValueError(
                "this model reads no property texts: leave properties out, or train one with "
                "cot.properties and cot.teacher_force_properties true"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        molecules = [_strings(n, pair, slots) for n, pair in enumerate(pairs)]
        if not molecules:
            return []
        read = featurise([s for pair in molecules for s in pair], workers=1, progress=False)
        rows = read.row_of.reshape(-1, slots)
        answers = self._unreadable(molecules, read, writer.task.kind.role_titles)
        good = np.flatnonzero((rows >= 0).all(axis=1))
        if len(good):
            known = read.table
            if properties is not None:
                own, _ = properties.apply(known.smiles, known.keys, known.property_text)
                known = replace(known, property_text=own)
            asked = None if queries is None else np.array(queries, dtype=object)[good]
            table = _table(known, rows[good], number, self.model.tasks, asked)
            fits, too_long = self._within_window(table, number)
            for i, reason in too_long.items():
                a, b = _two(molecules[good[i]])
                answers[int(good[i])] = PairAnswer(a, b, valid=False, warnings=(reason,))
            if len(fits):
                found = self._answer(table, number, fits, batch_size, progress)
                for i, row in enumerate(fits.tolist()):
                    pair = _two(molecules[good[row]])
                    answers[int(good[row])] = self._record(pair, number, found, i, table, row)
        return [answers[n] for n in range(len(molecules))]

    def _check_queries(self, task: Task, pairs: Sequence[Any], queries: Sequence[str] | None) -> None:
        template = task.kind.question_template(task.property)
        if "{query}" not in template:
            if queries is not None:
                raise ValueError(f"the question of {task.name} leaves nothing open: leave queries out")
            return
        if queries is None or len(queries) != len(pairs):
            given = "none" if queries is None else str(len(queries))
            raise ValueError(
                f"the question {template!r} needs a query for each of {len(pairs)} pairs, got {given}"
            )
        for n, query in enumerate(queries):
            if not str(query or "").strip():
                raise ValueError(f"the query of pair {n} is empty: say what is asked about it")

    def _unreadable(
        self, molecules: Sequence[tuple[str, ...]], read: Featurised, titles: tuple[str, ...]
    ) -> dict[int, PairAnswer]:
        """An answer with the reason for each pair of which a molecule cannot be read."""
        why = {reject.row: reject.reason for reject in read.rejects}
        slots, answers = len(titles), {}
        for n, pair in enumerate(molecules):
            reasons = [
                f"{role} {shorten(text)}: {why[slots * n + i]}"
                for i, (role, text) in enumerate(zip(titles, pair, strict=True))
                if slots * n + i in why
            ]
            if reasons:
                answers[n] = PairAnswer(*_two(pair), valid=False, warnings=tuple(reasons))
        return answers

    def _within_window(self, table: PairTable, number: int) -> tuple[np.ndarray, dict[int, str]]:
        """Rows that the language model can read whole, and for each other one the reason."""
        limit, room = self.model.language_model.max_positions, self.model.room(number)
        too_long = {}
        if limit is not None:
            for row in range(len(table)):
                tree = self.model.writers[number].tree(table.text(row), 0, 0, 0)
                if len(tree.prompt_ids) + room - 1 > limit:  # the last token is not read again
                    too_long[row] = (
                        f"the prompt has {len(tree.prompt_ids)} tokens and the answer up to {room}, the "
                        f"language model reads {limit}; ask about smaller molecules, or train with "
                        "prompt.smiles false"
                    )
        return np.array([row for row in range(len(table)) if row not in too_long], dtype=np.int64), too_long

    def _answer(
        self, table: PairTable, number: int, rows: np.ndarray, batch_size: int, progress: bool
    ) -> Answers:
        from rich.progress import track

        lm = self.model.language_model
        pad_id = lm.tokenizer.pad_token_id or 0
        collate = PairCollator(
            table, self.model.writers, lm.sharing, targets=False, both_orders=True, pad_id=pad_id
        )
        starts = range(0, len(rows), batch_size)
        parts = []
        with torch.inference_mode():
            for start in track(starts, description="answering", disable=not progress):
                batch = collate(rows[start : start + batch_size].tolist())
                parts.append(answer(self.model, batch.to(lm.device)))
        return calibrated(self.model, number, Answers.concat(parts))

    def _margin(self, task: Task) -> float | None:
        calibration = self.model.calibration.get(task.name, {})
        if "conformal" not in calibration:
            return None
        half = SplitConformal.from_dict(calibration["conformal"]).half_width(MARGIN_LEVEL)
        return half if np.isfinite(half) else None

    def _record(
        self, pair: tuple[str, str], number: int, found: Answers, i: int, table: PairTable, row: int
    ) -> PairAnswer:
        task = self.model.tasks[number]
        warnings = []
        for title, molecule in zip(task.kind.role_titles, (table.mol_a[row], table.mol_b[row]), strict=False):
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
            what = "answer" if task.kind.kind == "text" else "reasoning"
            warnings.append(f"the {what} did not end within its budget of tokens")
        common: dict[str, Any] = {
            "smiles_a": pair[0],
            "smiles_b": pair[1],
            "valid": True,
            "text": found.text[i],
            "reasoning": found.reasoning[i],
            "unit": task.unit,
            "warnings": tuple(warnings),
        }
        if task.kind.kind == "text":
            return PairAnswer(**common)
        if task.is_number:
            low, high = found.interval[i].tolist()
            interval = None if np.isnan(low) else (low, high)
            value = float(found.value[i])
            return PairAnswer(**common, value=value, interval=interval, margin=self._margin(task))
        if task.kind.kind == "class":
            label = found.text[i].partition(": ")[2]
        else:
            label = "yes" if found.log_odds[i] > 0 else "no"
        return PairAnswer(**common, label=label, probability=float(found.value[i]))


def _strings(n: int, pair: Any, slots: int) -> tuple[str, ...]:
    """The SMILES of pair ``n``, one for each role."""
    if slots == 1 and isinstance(pair, str):
        pair = (pair,)
    if isinstance(pair, str) or len(pair) != slots:
        wanted = "two SMILES, such as ('CCO', 'O')" if slots == 2 else "one SMILES"
        raise ValueError(f"pair {n} is {pair!r}: give {wanted}")
    return tuple(str(text or "").strip() for text in pair)


def _two(pair: Sequence[str]) -> tuple[str, str]:
    return pair[0], pair[1] if len(pair) > 1 else ""


def _table(
    molecules: MoleculeTable,
    rows: np.ndarray,
    number: int,
    tasks: Sequence[Task],
    queries: np.ndarray | None,
) -> PairTable:
    """Pairs to be answered as a table without labels."""
    count = len(rows)
    return PairTable(
        molecules=molecules,
        mol_a=rows[:, 0],
        mol_b=rows[:, 1] if rows.shape[1] > 1 else np.full(count, -1, dtype=rows.dtype),
        label=np.full(count, np.nan),
        split=np.full(count, "test"),
        pair_id=np.arange(count).astype(str),
        asked=tuple(Asked(t.family, t.property, t.dataset, t.classes) for t in tasks),
        task=np.full(count, number, dtype=np.int16),
        query=queries,
    )


def shorten(text: str, width: int = 60) -> str:
    """A SMILES as messages show it: quoted, and cut with its length named when it is long."""
    return repr(text) if len(text) <= width else f"{text[:width]!r}... ({len(text)} characters)"
