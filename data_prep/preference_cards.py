"""Cards of the preference data sets: files with checksum and address, terms, citation, format.

Nothing of the data is shipped with the package. ``reader`` names the format of the records in
:mod:`data_prep.readers.preferences`.
"""

from __future__ import annotations

from data_prep.card import NOT_STATED, Card, CardFile, raw_file

FAMILY = "preference"
_HH = "anthropics/hh-rlhf/354e5c3cb8960630860dd5774a6ac2a58313bf4d"
_FACTORY = "hiyouga/LLaMA-Factory/ff6d4d12eeb035d6ce06805a5733dd7b29f2ac30"
_ALPACA = "tatsu-lab/alpaca_eval/cd543a149df89434d8a54582c0151c0b945c3d20"
_AUTOJ = "GAIR-NLP/auto-j/2ae17a3965d933232e9cd50302aa0f176249c83b"
_PANDALM = "WeOpenML/PandaLM/3871806e72b4832f815ecafd24d3503c73403f48"
_TORCHTUNE = "pytorch/torchtune/bd2a0fc7c31430972728494fa01aaeeb0ebf1ba1"
_FLOWER = "Mr-Peach0301/Flower/f5e285b232f844145950df9eaea474cf2b5c79bc"
_SDPO = "chenyuxin1999/S-DPO/07befa4141239c1ecd8d13b1136d226315d0227b"
_UPSTREAM = "repository Apache-2.0; upstream sets carry their own terms"

_CARDS = (
    Card(
        name="hh_rlhf",
        title="Anthropic HH: pairs of dialogues, harmless-base, published test part",
        family=FAMILY,
        folder="hh_rlhf/harmless-base",
        files=(
            CardFile(
                raw_file(_HH, "harmless-base/test.jsonl.gz"),
                "ebfaaed21162a4de120ae85366075b34425e2a6303fac59b99555002f7016f03",
                742_801,
            ),
        ),
        terms="MIT; the text can be offensive",
        citation="Bai et al. 2022, arXiv 2204.05862",
        reader="hh",
    ),
    Card(
        name="llamafactory_dpo",
        title="LLaMA-Factory demo: pairs of replies to dialogues",
        family=FAMILY,
        folder="llamafactory_demo",
        files=(
            CardFile(
                raw_file(_FACTORY, "data/dpo_en_demo.json"),
                "b949be2421cfa62744afcf1b479f95b299d643d1a4c1c97d1341b314a1aa5cb3",
                1_575_286,
            ),
        ),
        terms=_UPSTREAM,
        citation="Zheng et al., LLaMA-Factory, ACL 2024 demonstrations",
        reader="sharegpt",
    ),
    Card(
        name="llamafactory_kto",
        title="LLaMA-Factory demo: dialogues, desirable or not",
        family=FAMILY,
        folder="llamafactory_demo",
        files=(
            CardFile(
                raw_file(_FACTORY, "data/kto_en_demo.json"),
                "9891687dea7c00e54af2e39534085c151ce3462d073574eeff2af927cc56fb74",
                913_519,
            ),
        ),
        terms=_UPSTREAM,
        citation="Zheng et al., LLaMA-Factory, ACL 2024 demonstrations",
        reader="unpaired",
    ),
    Card(
        name="llamafactory_alpaca",
        title="LLaMA-Factory demo: instructions with an answer to imitate",
        family=FAMILY,
        folder="llamafactory_demo",
        files=(
            CardFile(
                raw_file(_FACTORY, "data/alpaca_en_demo.json"),
                "bcc37c64db1a739a0789a1b81f251146fcf4459f903474bc9e3c21bbb5628318",
                859_893,
            ),
        ),
        terms=_UPSTREAM,
        citation="Zheng et al., LLaMA-Factory, ACL 2024 demonstrations",
        reader="alpaca",
    ),
    Card(
        name="alpaca_eval_zephyr",
        title="AlpacaEval: GPT-4 judgements of Zephyr-7B-beta against text-davinci-003",
        family=FAMILY,
        folder="alpaca_eval/zephyr-7b-beta",
        files=(
            CardFile(
                raw_file(_ALPACA, "results/zephyr-7b-beta/alpaca_eval_gpt4/annotations.json"),
                "004401fcd0a1faae086ba33c612550334ff6954d1989fbc17c29d4d379c38687",
                1_955_024,
            ),
        ),
        terms="data CC BY-NC 4.0",
        citation="Li et al., AlpacaEval, 2023",
        reader="alpaca-eval",
    ),
    Card(
        name="alpaca_eval_tulu",
        title="AlpacaEval: GPT-4 judgements of Tulu-2-DPO-7B against text-davinci-003",
        family=FAMILY,
        folder="alpaca_eval/tulu-2-dpo-7b",
        files=(
            CardFile(
                raw_file(_ALPACA, "results/tulu-2-dpo-7b/alpaca_eval_gpt4/annotations.json"),
                "29c392a9bafbb575b15fb5504f74c1b28b3228f293b30297ae6107812f720301",
                2_164_653,
            ),
        ),
        terms="data CC BY-NC 4.0",
        citation="Li et al., AlpacaEval, 2023",
        reader="alpaca-eval",
    ),
    Card(
        name="autoj",
        title="Auto-J: pairs of responses judged by people, ties included",
        family=FAMILY,
        folder="autoj_pairwise",
        files=(
            CardFile(
                raw_file(_AUTOJ, "data/test/testdata_pairwise.jsonl"),
                "56f32fad71d9b6b33bc4d51794c324981e26355bcbf3ce4908d7f8ddcc61f80e",
                4_066_039,
            ),
        ),
        terms=NOT_STATED,
        citation="Li et al., Auto-J, ICLR 2024",
        reader="autoj",
    ),
    Card(
        name="pandalm",
        title="PandaLM: pairs of responses judged by three people",
        family=FAMILY,
        folder="pandalm",
        files=(
            CardFile(
                raw_file(_PANDALM, "data/testset-v1.json"),
                "cc154f9067c7382d7ea86f8f246511a5e1ac87e1fddd845c5938d789505b07a4",
                937_899,
            ),
        ),
        terms="repository Apache-2.0",
        citation="Wang et al., PandaLM, ICLR 2024",
        reader="pandalm",
    ),
    Card(
        name="stack_exchange",
        title="Stack Exchange: questions with a better and a worse answer, a small sample",
        family=FAMILY,
        folder="stack_exchange_tiny",
        files=(
            CardFile(
                raw_file(_TORCHTUNE, "tests/assets/stack_exchange_paired_tiny.json"),
                "bd78b95515363c6d92e405cd44f574710269e2351007d635daf134269093d5a1",
                109_074,
            ),
        ),
        terms="repository BSD-3-Clause; texts CC BY-SA",
        citation="Lambert et al., Stack Exchange Preference Dataset, 2023",
        reader="stack-exchange",
    ),
    Card(
        name="movies_recdpo",
        title="Amazon Movies and TV: a next item and three rejected ones",
        family=FAMILY,
        folder="amazon_movies_recdpo",
        files=(
            CardFile(
                raw_file(_FLOWER, "with_history/dpo/data/Movies_and_TV/Movies_and_TV_dpo_eval_dataset.json"),
                "f5cc5440d9bbe18ff344b8465b30645ba99f64e84e0ac96ec8574884381187a7",
                2_078_497,
            ),
        ),
        terms=NOT_STATED,
        citation="Gao et al., Flower, 2025",
        reader="pairs",
    ),
    Card(
        name="lastfm_sdpo",
        title="Last.fm: the next artist among twenty candidates",
        family=FAMILY,
        folder="sdpo_lastfm",
        files=(
            CardFile(
                raw_file(_SDPO, "sample_data/lastfm-sft-cans20/lastfm-val.json"),
                "4fe1044f3c95eb77d402d0fc2d1b513bf3a585225c344b8f84c23b1c3f3007a4",
                2_195_006,
            ),
        ),
        terms="README badge MIT; Last.fm terms apply (non-commercial)",
        citation="Chen et al., S-DPO, NeurIPS 2024",
        reader="candidates",
    ),
)

PREFERENCE_CARDS = {card.name: card for card in _CARDS}

REMARKS = {
    "hh_rlhf": "This is the published test part alone: figures on a split drawn from it are not those of "
    "papers.",
    "lastfm_sdpo": "As released, the place of the true artist among the candidates is a function of the "
    "artist, and lists with the same true artist share candidates: a model can find it without preferences.",
}
"""What the report of a set begins with."""
