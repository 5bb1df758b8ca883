"""The tables of a study in Markdown: each method with its intervals, and against the baseline.

A row pools the held-out examples of all seeds. Intervals are bootstrap intervals over distinct examples: one
that is held out under several seeds is drawn with all its rows. Methods are compared on the same examples and
seeds, and are called tied where the interval of the difference holds zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from align.study import Cell
from align.study_outcomes import outcomes, pooled
from align.study_run import StudyRun
from moltc.backbone.bootstrap import Metric

COLUMNS = (
    "reward accuracy",
    "less that of {baseline}",
    "log-ratio accuracy",
    "margin",
    "chosen",
    "rejected",
    "by seed",
)


class StudyTables:
    """The tables of what a study has trained so far."""

    def __init__(self, run: StudyRun) -> None:
        self.run, self.study = run, run.study
        self._outcomes: dict[Cell, pl.DataFrame] = {}

    def markdown(self) -> str:
        """All tables, with what they were measured on."""
        parts = ["### Clean preferences", self._table([(name, 0.0) for name in self.study.methods], "")]
        flips = self.study.flips
        if flips is not None:
            rows = [(name, rate) for rate in (0.0, *flips.rates) for name in flips.methods]
            parts += ["### Turned preferences", self._table(rows, "turned")]
        return "\n\n".join(filter(None, [*parts, self._before(), self._counts()])) + "\n"

    def _table(self, rows: Sequence[tuple[str, float]], rate_column: str) -> str:
        titles = ["method", *([rate_column] if rate_column else []), *COLUMNS]
        head = [title.format(baseline=self.study.baseline) for title in titles]
        numbers = len(head) - 1
        lines = [head, ["---", *["---:"] * numbers]]
        for name, rate in rows:
            labels = [name, *([f"{rate:.0%}"] if rate_column else [])]
            cells = self._cells(name, rate)
            lines.append([*labels, *(["not trained yet"] if cells is None else self._row(name, rate, cells))])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def _row(self, name: str, rate: float, seeds: Sequence[pl.DataFrame]) -> list[str]:
        baseline = None if name == self.study.baseline else self._cells(self.study.baseline, rate)
        found = pooled(seeds, baseline)
        return [
            with_interval(found["accuracy"]),
            verdict(found["difference"]) if "difference" in found else "",
            with_interval(found["log_ratio_accuracy"]),
            *(f"{found[column].value:+.2f}" for column in ("margin", "chosen", "rejected")),
            ", ".join(f"{_mean(frame, 'accuracy'):.3f}" for frame in seeds),
        ]

    def _cells(self, name: str, rate: float) -> list[pl.DataFrame] | None:
        """Outcomes of all seeds; None while one is missing."""
        cells = [Cell(name, rate, seed) for seed in self.study.seeds]
        if any(self.run.line(cell) is None for cell in cells):
            return None
        for cell in cells:
            if cell not in self._outcomes:
                self._outcomes[cell] = outcomes(self.run.scores(cell))
        return [self._outcomes[cell] for cell in cells]

    def _before(self) -> str:
        """What the start and the lengths alone say of the held-out examples."""
        seeds = next(filter(None, (self._cells(name, 0.0) for name in self.study.methods)), None)
        if seeds is None:
            return ""
        found = pooled(seeds)
        likelier, per_token, shorter = (
            with_interval(found[name]) for name in ("start_sum", "start_mean", "shorter")
        )
        return (
            f"{sum(map(len, seeds)):,} held-out examples (split {self.study.split}, all seeds together). "
            f"Before these trainings the chosen completion is the likelier one in {likelier} of them, per "
            f"token in {per_token}; it is the shorter one in {shorter}."
        )

    def _counts(self) -> str:
        """What was cut and turned in the training of the baseline, all seeds together."""
        said = []
        for rate in (0.0, *(self.study.flips.rates if self.study.flips else ())):
            lines = [self.run.line(Cell(self.study.baseline, rate, seed)) for seed in self.study.seeds]
            counts = [line["train"] for line in lines if line is not None]
            sums = {name: sum(one[name] for one in counts) for name in (counts[0] if counts else {})}
            if rate and sums:
                said.append(f"{sums['flipped']:,} pairs turned at {rate:.0%}")
            elif sums:
                said.append(
                    f"{sums['examples']:,} pairs, {sums['prompts']:,} prompts and {sums['completions']:,} "
                    "completions cut to fit"
                )
        return f"Trained on, all seeds together: {'; '.join(said)}." if said else ""


def with_interval(metric: Metric) -> str:
    """A share with its interval."""
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"


def verdict(difference: Metric) -> str:
    """A difference with its interval, and whether it is one."""
    tied = difference.low <= 0 <= difference.high
    word = "tie" if tied else "better" if difference.value > 0 else "worse"
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}] {word}"


def _mean(frame: pl.DataFrame, column: str) -> float:
    return float(frame[column].to_numpy().mean())
