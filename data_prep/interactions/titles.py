"""Titles of films as people write them: the year cut off, a trailing article moved to the front."""

from __future__ import annotations

import re

import polars as pl

_YEAR = r"\s\(\d{4}\)$"
_ARTICLE = r"^(.*), (The|An|A)$"


def movie_title(raw: str) -> str:
    """``American in Paris, An (1951)`` -> ``An American in Paris``.

    Only four digits in brackets at the very end are a year, and only an article at the end of what is left
    is moved; a title without a year, or with another title in brackets behind the article, stays as it is.
    """
    return re.sub(_ARTICLE, r"\2 \1", re.sub(_YEAR, "", raw))


def movie_titles(raw: pl.Series) -> pl.Series:
    """:func:`movie_title` for a column."""
    return raw.str.replace(_YEAR, "").str.replace(_ARTICLE, "$2 $1")


def reference_movie_title(raw: str) -> str:
    """The rule of LLaRA's released code (Liao et al., SIGIR 2024), for comparison with its prompts.

    Seven characters are cut off whatever they are, and articles are looked for anywhere in the title, ``, A``
    before ``, An``, so that ``American in Paris, An (1951)`` becomes ``A American in Parisn``.
    """
    title = raw[:-7]
    for article in ("The", "A", "An"):
        if f", {article}" in title:
            return f"{article} {title.replace(f', {article}', '')}"
    return title
