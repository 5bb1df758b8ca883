"""Figures of merit for written texts beside their references, each with a bootstrap interval over rows.

BLEU is that of the whole corpus (Papineni et al., ACL 2002, section 2), without smoothing: counts are added
up over rows before they are divided, so resampled rows only need new sums. Tokens are words and single
punctuation marks in lower case; figures made with another tokenizer differ.

Shapes: n rows, N the longest n-gram, R resamples handled at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from moltc.bootstrap import Bootstrap, Floats, Metric, Statistic, joint_statistic, mean_statistic

ORDERS = (2, 4)

_TOKEN = re.compile(r"\w+|[^\w\s]")


def text_metrics(
    references: Sequence[str],
    texts: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Metric]:
    """BLEU-2, BLEU-4, token F1, share of exact texts and invalid rate.

    Args:
        references: [n] what should have been written, one text a row.
        texts: [n] what was written; an empty one is invalid and shares nothing with its reference.
        seed, resamples, level: of the bootstrap, see :class:`~moltc.bootstrap.Bootstrap`.

    The token F1 of a row is that of its tokens as multisets. A text is exact if all its tokens agree in
    order, so that case and white space do not matter.

    Raises:
        ValueError: no rows, lengths that differ, or a reference without a token; the message names the row.
    """
    if len(references) != len(texts):
        raise ValueError(f"{len(references)} references, but {len(texts)} texts")
    if not len(texts):
        raise ValueError("metrics need at least one text, got none")
    wanted = [tokens(text) for text in references]
    written = [tokens(text) for text in texts]
    if empty := [row for row, found in enumerate(wanted) if not found]:
        raise ValueError(f"the reference of row {empty[0]} is empty ({len(empty)} such rows): leave them out")
    rows = list(zip(wanted, written, strict=True))
    columns = {
        "token_f1": np.array([_overlap(reference, text) for reference, text in rows]),
        "exact": np.array([float(reference == text) for reference, text in rows]),
        "invalid_rate": np.array([float(not text) for _, text in rows]),
    }
    statistic = joint_statistic([_bleu_statistic(rows), mean_statistic(columns)])
    return Bootstrap(seed, resamples, level).estimate(statistic, len(rows))


def tokens(text: str) -> list[str]:
    """Words and single punctuation marks of a text, in lower case."""
    return _TOKEN.findall(text.lower())


Row = tuple[list[str], list[str]]
"""Tokens of a reference and of the text written for it."""


def _bleu_statistic(rows: Sequence[Row]) -> Statistic:
    """BLEU up to each order from per-row counts: matched and written n-grams, and both lengths."""
    longest = max(ORDERS)
    matched = np.array([[_matched(*row, n) for n in range(1, longest + 1)] for row in rows], float)  # [n, N]
    lengths = np.array([[len(reference), len(text)] for reference, text in rows], dtype=float)  # [n, 2]
    written = np.maximum(lengths[:, 1:] - np.arange(longest), 0)  # [n, N]

    def statistic(weights: Floats) -> dict[str, Floats]:
        hits, total = weights @ matched, weights @ written  # [R, N]
        reference, text = (weights @ lengths).T  # [R]
        with np.errstate(divide="ignore", invalid="ignore"):  # no match or nothing written: BLEU 0
            log_precision = np.log(hits / total)
            log_brevity = np.minimum(0.0, 1.0 - reference / text)
            scores = {f"bleu{n}": np.exp(log_brevity + log_precision[:, :n].mean(axis=1)) for n in ORDERS}
        return {name: np.nan_to_num(score, nan=0.0) for name, score in scores.items()}

    return statistic


def _matched(reference: list[str], text: list[str], n: int) -> int:
    """n-grams of ``text`` that are in ``reference``, each as often as it is there (clipped counts)."""
    return (_ngrams(text, n) & _ngrams(reference, n)).total()


def _ngrams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def _overlap(reference: list[str], text: list[str]) -> float:
    """Harmonic mean of precision and recall of tokens."""
    shared = (Counter(reference) & Counter(text)).total()
    return 2 * shared / (len(reference) + len(text))
