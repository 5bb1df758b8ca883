"""Answered test pairs as people look at them: which pairs to show, their molecules drawn, and a page of both.

A molecule is drawn once, however many pairs name it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from data_prep.files import replacing

SIZE = (200, 140)  # pixels
BOND = 22.0
MOLECULES = ("smiles_a", "smiles_b")
SHOWN = (
    "query",
    "truth",
    "value",
    "class",
    "probability",
    "error",
    "low",
    "high",
    "text",
    "reasoning",
    "chosen",
)

# What a browser assumes anyhow, and names that nothing refers to: a third of a drawing.
_SPARED = re.compile(
    r" class='[^']*'|;fill-rule:evenodd|;stroke-(linecap:butt|linejoin:miter|opacity:1)(?=[;'])"
)
_CSS = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; max-width: 80rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid #8886; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
svg.molecule { display: block; background: #fff; border-radius: 6px; }
code { display: block; max-width: 200px; overflow-wrap: anywhere; font-size: .75rem; opacity: .75; }
"""


def svg(smiles: str, size: tuple[int, int] = SIZE) -> str:
    """The shapes of a molecule's drawing, for an ``svg`` or ``symbol`` element of ``size`` (pixels).

    Raises
    ------
    ValueError : RDKit cannot read the SMILES.
    """
    canvas = rdMolDraw2D.MolDraw2DSVG(*size)
    canvas.drawOptions().clearBackground = False  # the page gives the ground
    drawing = _drawn(canvas, smiles)
    shapes = drawing[drawing.index("<!-- END OF HEADER -->") :].removesuffix("</svg>\n")
    return _SPARED.sub("", shapes.partition("\n")[2])


def png(smiles: str, size: tuple[int, int] = SIZE) -> bytes:
    """A molecule's drawing on white as PNG file.

    Raises
    ------
    ValueError : RDKit cannot read the SMILES.
    """
    return _drawn(rdMolDraw2D.MolDraw2DCairo(*size), smiles)


def _drawn(canvas: Any, smiles: str) -> Any:
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        raise ValueError(f"{smiles!r} cannot be drawn: RDKit does not read it as SMILES")
    canvas.drawOptions().fixedBondLength = BOND  # the largest; big molecules are drawn smaller
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, molecule)
    canvas.FinishDrawing()
    return canvas.GetDrawingText()


def distinct_molecules(pairs: pl.DataFrame) -> list[str]:
    """Every SMILES of the pairs once, sorted; a pair of one molecule has a null or an empty second one."""
    columns = [pairs[column].drop_nulls().cast(pl.String) for column in MOLECULES if column in pairs.columns]
    return sorted({smiles for column in columns for smiles in column} - {""})


def chosen_pairs(predictions: pl.DataFrame, count: int, seed: int = 0) -> pl.DataFrame:
    """At most ``count`` answered pairs: the half with the largest errors first, then a seeded sample of the
    others in table order.

    Parameters
    ----------
    predictions : the table that a test run writes. The error of a number (``value``) or of a probability of
        yes is its distance from ``truth``; a wrong ``class`` has error 1, and the surest come first.
    count : rows to choose; a table with no more rows is shown whole.
    seed : of the sample.

    Returns
    -------
    pl.DataFrame : the chosen rows, with the columns ``error`` and ``chosen`` ("worst" or "sample"). Answers
        without an error (texts, unknown truth) come as a sample only.
    """
    if count < 1:
        raise ValueError(f"the number of pairs to choose must be at least 1, not {count}")
    table = predictions.with_columns(_error(predictions).alias("error")).with_row_index("place")
    known = table.filter(pl.col("error").is_not_null())
    badness = pl.col("error")
    if "class" in table.columns:  # wrong ones by falling probability, then right ones by rising
        badness = (2 * badness - 1) * pl.col("probability")
    worst = known.sort(badness, "place", descending=[True, False]).head((min(count, table.height) + 1) // 2)
    others = table.join(worst, on="place", how="anti")
    sample = others.sample(min(count - worst.height, others.height), seed=seed).sort("place")
    parts = [worst.with_columns(chosen=pl.lit("worst")), sample.with_columns(chosen=pl.lit("sample"))]
    return pl.concat(parts).drop("place")


def _error(predictions: pl.DataFrame) -> pl.Expr:
    columns, truth = predictions.columns, pl.col("truth")
    if "truth" not in columns:
        error = pl.lit(None)
    elif "class" in columns:
        error = pl.when(truth.is_not_nan()).then(pl.col("class") != truth)
    else:
        error = (pl.col("value" if "value" in columns else "probability") - truth).abs()
    return error.cast(pl.Float64).fill_nan(None)


def describe(pairs: pl.DataFrame, total: int) -> str:
    """One sentence on what :func:`chosen_pairs` chose out of ``total`` pairs."""
    worst = int((pairs["chosen"] == "worst").sum())
    if pairs.height == total:
        return f"All {total} test pairs" + (f", the {worst} with the largest error first." if worst else ".")
    first = f"the {worst} with the largest error, and a sample" if worst else "a sample"
    return f"{pairs.height} of {total} test pairs: {first} drawn with the run's seed."


def write_pairs_page(file: Path, pairs: pl.DataFrame, *, title: str, notes: Sequence[str] = ()) -> Path:
    """Write chosen pairs as one self-contained page: both molecules drawn, truth, answer and error.

    Parameters
    ----------
    file : page to write, whole or not at all.
    pairs : chosen pairs; of their columns those in :data:`SHOWN` stand beside the drawings.
    title, notes : heading, and sentences below it.
    """
    place = {smiles: f"m{number}" for number, smiles in enumerate(distinct_molecules(pairs))}
    box = f'viewBox="0 0 {SIZE[0]} {SIZE[1]}"'
    symbols = "\n".join(f'<symbol id="{place[smiles]}" {box}>{svg(smiles)}</symbol>' for smiles in place)
    columns = [name for name in SHOWN if name in pairs.columns]
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in ("molecules", *columns))
    body = "\n".join(
        f"<tr><td>{''.join(_molecule(row.get(name), place) for name in MOLECULES)}</td>"
        f"{''.join(_cell(row[name]) for name in columns)}</tr>"
        for row in pairs.iter_rows(named=True)
    )
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "".join(f"<p>{escape(note)}</p>\n" for note in notes)
        + f'<svg width="0" height="0" style="position:absolute" aria-hidden="true">{symbols}</svg>\n'
        f'<div class="scroll"><table><tr>{head}</tr>\n{body}\n</table></div>\n</body></html>\n'
    )
    with replacing(file) as partial:
        partial.write_text(page, encoding="utf-8")
    return file


def _molecule(smiles: str | None, place: dict[str, str]) -> str:
    if not smiles:
        return ""
    words = escape(smiles)
    size = f'width="{SIZE[0]}" height="{SIZE[1]}"'
    use = f'<use href="#{place[smiles]}"/>'
    drawing = f'<svg class="molecule" {size} role="img" aria-label="{words}">{use}</svg>'
    return f"{drawing}<code>{words}</code>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>' if math.isfinite(value) else "<td>–</td>"
    return f"<td>{escape('–' if value is None else str(value))}</td>"
