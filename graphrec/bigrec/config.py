"""Settings of BIGRec and of IFairLRS, which is BIGRec with weighted samples.

BIGRec: Bao et al., arXiv 2308.08434; IFairLRS: Jiang et al., WWW 2024, arXiv 2402.15215.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from graphrec.bigrec.weights import POPULARITY_GAMMAS
from graphrec.fairness.groups import Counting
from graphrec.language.config import ItemForm, LanguageSettings
from graphrec.llara.templates import DOMAINS

Layout = Literal["windows", "instructions"]
Decoding = Literal["free", "titles"]
Ranking = Literal["grounding", "likelihood"]
REFERENCE: dict[str, Any] = {
    "layout": "instructions",
    "token_start": "random",
    "sources": (),
    "end_mark": "end",
    "lora_rank": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.05,
    "lora_targets": ("q_proj", "v_proj"),
    "learn_instruction": True,
    "samples": 65_536,
    "batch_size": 128,
    "lr": 1e-4,
    "weight_decay": 0.0,
    "warmup_steps": 20,
}


@dataclass(frozen=True)
class BigRecConfig(LanguageSettings):
    """Settings of BIGRec; those of every language recommender stand in :class:`LanguageSettings`.

    Attributes:
        form: BIGRec shows titles alone; "hybrid" also shows soft tokens, which is no part of the paper.
        layout: "windows", titles in a row without instructions, each of them a target; "instructions", the
            paper's prompt with one target.
        domain: what instructions call the items: films, games, artists or items.
        samples: of "instructions": samples drawn once from all, the same ones for every seed; None: all.
        learn_instruction: of "instructions": the tokens of the prompt are learnt too, as in the paper's code.
        ranking: "grounding", by the distance of titles to the written one; "likelihood", by the
            log-probability of each title, which takes as long as there are titles.
        decoding: "free", any text is written; "titles", only titles of the catalogue.
        most_tokens: most tokens of a written title.
        weighting: what moves distances: "none", "popularity", or the folder of a saved recommender, whose
            scores do.
        gamma: how much it counts.
        gammas: tried on the validation rows after training; the best by NDCG@10 replaces ``gamma``.
        reweight: groups of IFairLRS whose weights samples get: "popularity", "popularity:10", or a column of
            the data such as "genres"; None: every sample counts alike.
        reweight_model: folder of a saved recommender, such as this one without weights: what it recommends
            takes the place of the targets in the weights, which is no part of the paper; None: targets do.
        reweight_power: of these weights, below 1 to weaken them; choose it on validation rows.
        counting: of items with several groups, see :class:`~graphrec.fairness.groups.ItemGroups`.
    """

    form: ItemForm = "text"
    layout: Layout = "windows"
    domain: str = "items"
    samples: int | None = None
    learn_instruction: bool = False
    ranking: Ranking = "grounding"
    decoding: Decoding = "free"
    most_tokens: int = 32
    weighting: str = "none"
    gamma: float = 0.0
    gammas: tuple[float, ...] = ()
    reweight: str | None = None
    reweight_model: str | None = None
    reweight_power: float = 1.0
    counting: Counting = "full"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.domain not in DOMAINS:
            raise ValueError(f"domain={self.domain!r} is not known; choose from {', '.join(DOMAINS)}")
        if self.most_tokens < 1 or (self.samples is not None and self.samples < 1):
            raise ValueError(
                f"most_tokens={self.most_tokens} and samples={self.samples}: give 1 or more, or no samples"
            )
        if self.reweight is None and (self.reweight_model is not None or self.reweight_power != 1):
            raise ValueError(
                "reweight_model and reweight_power need groups to weigh by: give reweight, or leave them out"
            )
        if not self.reweight_power > 0:
            raise ValueError(f"reweight_power={self.reweight_power} weighs nothing: give a number above 0")
        self._check_layout()
        self._check_weighting()

    def _check_layout(self) -> None:
        if self.form == "token":
            raise ValueError("BIGRec writes titles that it reads: give form 'text' or 'hybrid'")
        if self.layout == "windows":
            if self.samples is not None or self.learn_instruction:
                raise ValueError("samples and learn_instruction need layout 'instructions': leave them out")
            return
        if self.form != "text" or self.states:
            raise ValueError("layout 'instructions' shows titles alone: give form 'text' and states false")
        if self.ranking == "likelihood":
            raise ValueError("ranking 'likelihood' scores titles as windows show them: give layout 'windows'")
        if self.pretrained is None and self.vocabulary != "bpe":
            raise ValueError("instructions are more than words of titles: give vocabulary 'bpe'")

    def _check_weighting(self) -> None:
        if self.ranking == "likelihood" and self.weighting != "none":
            raise ValueError("weighting moves distances: give ranking 'grounding', or weighting 'none'")
        if min(self.gamma, *self.gammas, 0) < 0:
            raise ValueError("gamma is 0 or more: below it would prefer what weighs least")
        if self.weighting == "none" and (self.gamma or self.gammas):
            raise ValueError("gamma has no effect without weighting: give weighting, or leave gamma out")
        if self.weighting != "none" and not (self.gamma or self.gammas):
            raise ValueError(
                f"weighting={self.weighting!r} has no effect with gamma 0: give gamma, or gammas to try, "
                f"such as {list(POPULARITY_GAMMAS[:4])}"
            )

    @classmethod
    def reference(cls) -> Self:
        """What the paper's code is run with; ``pretrained`` names the language model (LLaMA-7B there)."""
        return cls(**{**REFERENCE, "vocabulary": "bpe"})
