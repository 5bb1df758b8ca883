"""Settings of LLaRA: what a training row looks like, when soft tokens are shown, what ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from graphrec.language.config import LanguageSettings
from graphrec.llara.curriculum import Curriculum, ReleaseCurriculum, StepCurriculum
from graphrec.llara.templates import Template

REFERENCE: dict[str, Any] = {
    "training": "lora",
    "vocabulary": "bpe",
    "dtype": "bfloat16",
    "token_start": "random",
    "dropout": 0.0,
    "end_mark": "newline",
    "layout": "candidates",
    "curriculum": "power",
    "rates": "llara",
    "lr": 7e-4,
    "betas": (0.9, 0.999),
    "weight_decay": 0.0,
    "projector_decay": 1e-5,
    "batch_size": 128,
    "planned_epochs": 5,
    "gradient_checkpointing": True,
}


@dataclass(frozen=True)
class LlaraConfig(LanguageSettings):
    """Settings of LLaRA.

    Attributes:
        layout: "windows": a row is a part of a sequence whose every title is a target, and no candidates are
            shown; "candidates": a row is a history, a list of candidates and a question, as published.
        curriculum: how the share of batches that show soft tokens grows: "power" of the run's progress, with
            exponent 1 the paper's; "step" from none to all; "constant"; what the released code does,
            "release", and did before July 2024, "first_release"; None: all batches show them.
        exponent, switch, level: of "power", "step" and "constant", see
            :class:`graphrec.llara.curriculum.StepCurriculum`.
        workers: of the release's data loader.
        rates: "cosine" as every model here, or "llara", which warms up for a twentieth of the run and whose
            cosine began with the warm-up.
        wording: of candidate prompts, "A", "B" or "C", or "drawn" for each training batch; a drawn one is
            asked in wording A.
        domain: what the items are called: films, games, artists or items.
        num_candidates: shown in training, the target among them.
        stated_count: number of candidates that prompts state; None: the true one.
        open_share: share of training batches of the candidates layout whose prompts show no list, so that the
            whole catalogue can be asked for.
        mean_token: rank by the mean of the tokens' log-probabilities in place of their sum.
        prior_share: how much of a title's score without history is taken off.
    """

    layout: Literal["windows", "candidates"] = "windows"
    curriculum: Literal["power", "step", "constant", "release", "first_release"] | None = None
    exponent: float = 1.0
    switch: float = 0.4
    level: float = 1.0
    workers: int = 8
    rates: Literal["cosine", "llara"] = "cosine"
    wording: Literal["A", "B", "C", "drawn"] = "drawn"
    domain: str = "items"
    num_candidates: int = 20
    stated_count: int | None = None
    open_share: float = 0.1
    mean_token: bool = False
    prior_share: float = 0.0

    @classmethod
    def reference(cls, **changes: Any) -> Self:
        """The published settings for a pre-trained model (LastFM), but for what is given."""
        return cls(**{**REFERENCE, **changes})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form != "hybrid" and self.curriculum is not None:
            raise ValueError(
                f"a curriculum goes from text to hybrid items, and form is {self.form!r}: give curriculum "
                "null, or form 'hybrid'"
            )
        if self.num_candidates < 2:
            raise ValueError(f"num_candidates must be at least 2, not {self.num_candidates}")
        if not 0 <= self.open_share <= 1:
            raise ValueError(f"open_share is a share between 0 and 1, not {self.open_share}")
        if not 0 <= self.prior_share <= 1:
            raise ValueError(f"prior_share is a share between 0 and 1, not {self.prior_share}")
        _ = Template(domain=self.domain)
        _ = self.schedule(max(self.workers, 1))

    def schedule(self, batches: int) -> Curriculum | None:
        """The curriculum of a run whose epochs have so many batches; None: every batch is alike."""
        if self.curriculum is None:
            return None
        if self.curriculum == "release" or self.curriculum == "first_release":
            return ReleaseCurriculum(
                batches, self.planned_epochs, self.workers, reversed=self.curriculum == "first_release"
            )
        return StepCurriculum(self.curriculum, self.exponent, self.switch, self.level)

    def template(self, wording: str | None = None) -> Template:
        """The prompt that answers are asked with, or one of another wording."""
        fixed = "A" if self.wording == "drawn" else self.wording
        return Template(wording or fixed, self.domain, self.stated_count)
