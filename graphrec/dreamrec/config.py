"""Settings of a DreamRec model: with the remedies that make it rank well by default, or as published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from graphrec.dreamrec.prefixes import Order
from graphrec.dreamrec.retrieval import Retrieval
from graphrec.dreamrec.schedules import SCHEDULES, Schedule

Sampler = Literal["closed_form", "ancestral", "ddim", "one_step"]
Ranked = Literal["generated", "denoised"]

REFERENCE: dict[str, Any] = {
    "dropout": 0.1,
    "schedule": "linear",
    "num_steps": 500,
    "guidance": 2.0,
    "start_vectors": "random",
    "frozen_table": False,
    "batch_size": 256,
    "order": "draws",
}


@dataclass(frozen=True)
class DreamRecConfig:
    """Settings of DreamRec.

    Attributes:
        width: of item vectors, histories and all else, d.
        length: latest items that are read, L.
        num_heads: heads of the history encoder's attention.
        dropout: share of features dropped in the history encoder while training.
        schedule: how noise grows: linear, exp, cosine or sqrt.
        num_steps: steps of the diffusion, T.
        denoiser_layers: 1 is the linear ``mlp1`` of all published runs, 2 is ``mlp2``; more are possible.
        null_rate: share of training rows whose history is replaced by the null condition.
        sampler: "closed_form" (linear denoisers only) is the exact mean of what a step-by-step sampler draws;
            "ancestral" walks all T steps, "ddim" some, "one_step" one.
        sampler_steps: S of "ddim"; with "closed_form", DDIM of S steps is worked out in place of all T.
        eta: noise of DDIM, from 0 (none) to 1.
        guidance: w; 0 takes the conditional prediction as it is.
        noise_seed: of the noise of step-by-step samplers, which is the same for all rows.
        retrieval: "inner" product as published, "cosine", or "distance"; the latter two do not favour
            long item vectors.
        seen_last: rank items of the history behind all others, where no fitted sequence repeats an item.
        start_vectors: of the item table: "random" N(0, 1) as published; "ease", the leading factors of a
            ridge regression between items; "cooccurrence", a factorisation of what occurs near what; or the
            folder of a saved recommender with vectors of the same width. All have a mean square of one.
        ridge: penalty of the regression of "ease".
        frozen_table: item vectors keep their start.
        normalised: item vectors have length sqrt(d) wherever they are read.
        detached_target: no gradient reaches the table through the target, only through histories and scores.
        cross_entropy: weight of the softmax cross-entropy of the target among all items.
        temperature: of that softmax.
        ranked: what it scores: vectors "generated" by the sampler, or "denoised" at the drawn step.
        preference: weight of PreferDiff's term: targets are rebuilt better than items nobody chose.
        negatives: items drawn and averaged for that term.
        consistency: weight of TA-Rec's term: neighbouring steps predict the same.
        lr, weight_decay: of AdamW.
        batch_size: rows of a batch.
        order: "pass" trains each row once an epoch; "draws" draws each batch from all rows.
    """

    width: int = 64
    length: int = 10
    num_heads: int = 1
    dropout: float = 0.4
    schedule: Schedule = "cosine"
    num_steps: int = 100
    denoiser_layers: int = 1
    null_rate: float = 0.1
    sampler: Sampler = "closed_form"
    sampler_steps: int | None = None
    eta: float = 0.0
    guidance: float = 4.0
    noise_seed: int = 0
    retrieval: Retrieval = "inner"
    seen_last: bool = False
    start_vectors: str = "ease"
    ridge: float = 200.0
    frozen_table: bool = True
    normalised: bool = False
    detached_target: bool = False
    cross_entropy: float = 0.0
    temperature: float = 1.0
    ranked: Ranked = "generated"
    preference: float = 0.0
    negatives: int = 1
    consistency: float = 0.0
    lr: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 512
    order: Order = "pass"

    @classmethod
    def reference(cls, **changes: Any) -> Self:
        """The settings of the published model, but for what is given.

        Published runs differ in schedule, steps, guidance and rate: YooChoose exp, 500, 2, 1e-3; KuaiRec
        cosine, 2000, 2, 5e-5; Zhihu linear, 500, 4, 1e-2.
        """
        return cls(**{**REFERENCE, **changes})

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_numbers()
        self._check_sampler()
        if self.frozen_table and self.start_vectors == "random":
            raise ValueError(
                "a frozen table of random vectors can tell nothing: choose start_vectors, or give "
                "frozen_table: false"
            )
        if self.frozen_table and self.detached_target:
            raise ValueError("a frozen table has no gradient to detach: leave one of the two out")

    def _check_choices(self) -> None:
        for name, choices in {
            "schedule": tuple(SCHEDULES),
            "sampler": get_args(Sampler),
            "retrieval": get_args(Retrieval),
            "ranked": get_args(Ranked),
            "order": get_args(Order),
        }.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(choices)}")

    def _check_numbers(self) -> None:
        least = {"width": 4, "length": 1, "num_heads": 1, "num_steps": 2, "denoiser_layers": 1}
        for name, bound in {**least, "batch_size": 1, "negatives": 1}.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}, not {getattr(self, name)}")
        if self.width % 2:
            raise ValueError(f"width={self.width} must be even: half of the step's waves are sines")
        for name in ("guidance", "cross_entropy", "preference", "consistency", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("dropout", "null_rate", "eta"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, not {getattr(self, name)}")
        for name in ("temperature", "lr", "ridge"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")

    def _check_sampler(self) -> None:
        if self.sampler == "closed_form" and self.denoiser_layers != 1:
            raise ValueError(
                f"denoiser_layers={self.denoiser_layers} has no closed form: choose the sampler 'ancestral', "
                "'ddim' or 'one_step', or denoiser_layers: 1"
            )
        if self.sampler == "ddim" and self.sampler_steps is None:
            raise ValueError("the sampler 'ddim' needs sampler_steps, the number of steps it takes")
        if self.sampler in ("ancestral", "one_step") and self.sampler_steps is not None:
            raise ValueError(
                f"the sampler {self.sampler!r} takes no sampler_steps: leave them out, or choose 'ddim'"
            )
        if self.sampler_steps is None:
            if self.eta:
                raise ValueError("eta is an option of DDIM: give sampler_steps, or leave it out")
        elif not 1 <= self.sampler_steps <= self.num_steps:
            raise ValueError(f"sampler_steps must lie between 1 and num_steps={self.num_steps}")
