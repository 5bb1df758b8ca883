"""Pieces of a self-contained page: style, tables, notes; everything is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 1.2rem}
td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}h2{margin-top:2rem;font-size:1.15rem}
.note{background:#fff6dd;border-left:4px solid #e0a800;padding:.4rem .8rem;margin:.5rem 0}
code{font-size:.9em;overflow-wrap:anywhere}
figure{display:inline-block;margin:.3rem 1rem .3rem 0}figcaption{font-size:.85rem}
"""


def document(title: str, parts: Iterable[str]) -> str:
    """A page of parts that are HTML already."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def notes(texts: Iterable[str]) -> str:
    """What a reader should not overlook."""
    return "".join(f'<p class="note">{escape(text)}</p>' for text in texts)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers stand on the right."""
    top = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="n">{value:.3f}</td>'
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"
