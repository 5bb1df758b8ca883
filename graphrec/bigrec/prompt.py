"""BIGRec's prompt: an instruction, the titles of a history, and the title that follows them.

Same shape as in Bao et al. (arXiv 2308.08434), in our words. Training and answering use this one function, so
that their prompts agree to the letter.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphrec.llara.templates import DOMAINS, NOTHING

_TEMPLATE = (
    "An instruction and its input follow. Write the response that the instruction asks for.\n\n"
    "### Instruction:\nThese are the {many} that a user has {met}. Recommend a {one} that the user has not "
    "{met} yet.\n\n"
    "### Input:\nThe user has {met}{history}\n\n"
    "### Response:\n"
)


def bigrec_prompt(titles: Sequence[str], domain: str = "items") -> str:
    """The prompt about a history, up to where the response begins.

    Args:
        titles: of the history, oldest first; there may be none.
        domain: what the items are, a key of :data:`graphrec.llara.templates.DOMAINS`.

    Raises:
        ValueError: a title is empty, or the domain is not known.
    """
    if domain not in DOMAINS:
        raise ValueError(f"domain={domain!r} is not known; choose from {', '.join(DOMAINS)}")
    blank = [place for place, title in enumerate(titles) if not title.strip()]
    if blank:
        raise ValueError(
            f"item {blank[0]} of the history has no title: a prompt shows titles alone; leave it out"
        )
    history = f", oldest first: {', '.join(map(quoted, titles))}" if titles else f" {NOTHING}"
    return _TEMPLATE.format(history=history, **DOMAINS[domain]._asdict())


def quoted(title: str) -> str:
    """A title as it stands in a prompt and in a response."""
    return f'"{title}"'


def unquoted(text: str) -> str:
    """The title of a response: its first line without the double quotes around it."""
    return text.strip().split("\n", 1)[0].strip().strip('"').strip()
