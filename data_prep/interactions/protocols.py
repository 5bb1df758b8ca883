"""The protocols of the catalogue's recommendation sets: which files, which split, which rows, which rank.

Two programs that follow a fixed protocol rank the same lists: all items, or the candidates given, with ties
against the target. Sets that are logs can also be divided by any other rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from data_prep.errors import DataError
from data_prep.interactions import log_protocols, row_protocols
from data_prep.interactions.card_files import CardFiles
from data_prep.interactions.log import RawLog
from data_prep.interactions.plan import METHODS, SplitPlan, log_task
from data_prep.interactions.row_tasks import ZHIHU_VARIANTS
from data_prep.interactions.task import RankingTask


@dataclass(frozen=True)
class FixedProtocol:
    """One protocol of a set.

    Attributes:
        build: the task of a variant, from the set's files.
        variants: what is fitted, or how rows are chosen; the first is the default; empty without a choice.
    """

    build: Callable[[CardFiles, str], RankingTask]
    variants: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetProtocols:
    """What can be built from a set.

    Attributes:
        fixed: protocols by name; the first is the default.
        log: reads the set as a log, which any split can divide; None where only rows are published.
    """

    fixed: Mapping[str, FixedProtocol] = field(default_factory=dict)
    log: Callable[[CardFiles], RawLog] | None = None


def _one(
    name: str, build: Callable[[CardFiles, str], RankingTask], *variants: str
) -> dict[str, FixedProtocol]:
    return {name: FixedProtocol(build, variants)}


PROTOCOLS: dict[str, SetProtocols] = {
    "amazon_beauty": SetProtocols(_one("beauty-loo", log_protocols.beauty_loo), log_protocols.beauty_log),
    "amazon_video_games": SetProtocols(
        _one("video-games-loo", log_protocols.video_games_loo), log_protocols.video_log
    ),
    "amazon_beauty_preferdiff": SetProtocols(_one("beauty-by-user", log_protocols.beauty_by_user)),
    "movielens_1m": SetProtocols(_one("ml1m-loo", log_protocols.ml1m_loo), log_protocols.movielens_1m_log),
    "movielens_100k": SetProtocols(
        _one("movielens-20", log_protocols.movielens_20, "llara", "drawn"), log_protocols.movielens_100k_log
    ),
    "retailrocket": SetProtocols(
        _one("retailrocket-sessions", log_protocols.retailrocket_sessions, "random", "chronological"),
        log_protocols.retailrocket_log,
    ),
    "lastfm_hetrec": SetProtocols(log=log_protocols.tagged_artists_log),
    "lastfm_llara": SetProtocols(_one("lastfm-20", row_protocols.lastfm_20, "llara", "sdpo-lists")),
    "steam_llara": SetProtocols(_one("steam-20-thousand", row_protocols.steam_20)),
    "zhihu": SetProtocols(_one("zhihu-rows", row_protocols.zhihu_rows, *ZHIHU_VARIANTS)),
    "yoochoose": SetProtocols(_one("yc-valfit", row_protocols.yoochoose_windows)),
}


def build_task(
    files: CardFiles, protocol: str | None = None, variant: str | None = None, plan: SplitPlan | None = None
) -> RankingTask:
    """The ranking task of a set.

    Args:
        protocol: a fixed protocol of the set, or a split rule where the set is a log; default: its first
            fixed protocol, or leave-one-out.
        variant: of a fixed protocol.
        plan: for a split rule; default: the rule with its own defaults.

    Raises:
        DataError: the set has no such protocol or variant, or an option has no effect on it.
    """
    name = files.card.name
    known = PROTOCOLS[files.card.reader]
    chosen = protocol or next(iter(known.fixed), METHODS[0])
    if chosen in known.fixed:
        fixed = known.fixed[chosen]
        if plan is not None:
            raise DataError(f"Protocol {chosen} fixes its split; leave --seed and --fractions out.")
        if variant is not None and variant not in fixed.variants:
            mend = f"choose from {', '.join(fixed.variants)}" if fixed.variants else "leave --variant out"
            raise DataError(f"Protocol {chosen} has no variant {variant!r}; {mend}.")
        return fixed.build(files, variant or next(iter(fixed.variants), ""))
    offered = (*known.fixed, *(METHODS if known.log else ()))
    method = next((one for one in METHODS if one == chosen), None)
    if method is None or known.log is None:
        raise DataError(f"{name} has no protocol {chosen!r}; choose from {', '.join(offered)}.")
    if variant is not None:
        raise DataError(f"A split rule has no variants; leave --variant {variant} out.")
    return log_task(known.log(files), plan or SplitPlan(method), name)
