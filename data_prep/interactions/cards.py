"""Cards of the recommendation data sets: files with checksum and address, terms, citation, protocols.

Nothing of the data is shipped with the package. ``reader`` names the set's protocols in
:mod:`data_prep.interactions.protocols`.
"""

from __future__ import annotations

from data_prep.card import NOT_STATED, Card, CardFile, raw_file

FAMILY = "recommendation"
_GROUPLENS = "GroupLens: research use only, no redistribution without permission, no commercial use"
_ML100K = "HuangHsiangTai/MovieRatingRecommendation/98e151b8ae04d5768bc72ed1da6f1404802098f0"
_ML1M = "bigdataguide/AuraSparkTraining/03ebfaf1fdd7a0abd40578aa2ab72bcac51f18db"
_GSASREC = "asash/gSASRec-pytorch/7e350285fb4721377c96e20ace7c74bf19bea57b"
_ML1M_MAPPING = "asash/ml1m-sas-mapping/56013fb1def17a503613b5b914c2809ed18f607c"
_HETREC_TAGGED = "omarriaga/hybrid-recommender/41bfa287088eb15d4a9137c634bfdef484d5959e"
_HETREC_NAMES = "terrytmp/Recommender/b7783c9e5b6b52b757e9b46db345f48fbdfb08c1"
_LLARA = "ChickenTheSlayer/DeepRec/4a8562582e79c1fb493d54d4ee29da62a03bdd13"
_LLARA_COPY = "Yeo-Jun-Choi/llmfor/309038f2f6db08a56452c0422f44ab2a0950ded4"
_DREAMREC = "YangZhengyi98/DreamRec/454133ca0dba08da09af3ef378acf44eebd2a914"
_ZHIHU = "baiyimeng/DreamRec/f77206d58dc11f6a419a6e0973b6d0c3b6e317dc"
_DROS = "YangZhengyi98/DROS/44ff99d2ca6b1d5cd2488f388c660c32c5db1ab5"
_SASREC = "pmixer/SASRec.pytorch/fde8a9c08febc2c898dc269b1d98ab762c50d2be"
_S3REC = "RUCAIBox/CIKM2020-S3Rec/2a81540ae18615d88ef88227b0c066e5b74781e5"
_SDPO = "chenyuxin1999/S-DPO/07befa4141239c1ecd8d13b1136d226315d0227b"
_PREFERDIFF = "lswhim/PreferDiff/fdf45b0325f2aa19eee4e92196f5b87d5848a1e3"

_CARDS = (
    Card(
        name="movielens_100k",
        title="MovieLens-100k: 100,000 ratings of 1,682 films by 943 users, and LLaRA's held-out rows",
        family=FAMILY,
        folder="movielens_100k",
        files=(
            CardFile(
                raw_file(_ML100K, "ml-100k/u.data"),
                "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
                1_979_173,
            ),
            CardFile(
                raw_file(_ML100K, "ml-100k/u.item"),
                "01ded16adbdf7d7f4071a934c8e144d5a30279c0bd780688f97905fa278fb237",
                236_342,
            ),
            CardFile(
                raw_file(_LLARA_COPY, "data/movielens/Val_data.df"),
                "9a950900d0055649e2983ef403d189d5fdc5bd4f84d229a377806d371b32e460",
                43_200,
                saved="llara/movielens/Val_data.df",
            ),
            CardFile(
                raw_file(_LLARA_COPY, "data/movielens/Test_data.df"),
                "d38308a0078d4518dc9eeb619c8d1afb53d830712cc7d36ac51cc47eaafc97d6",
                43_718,
                saved="llara/movielens/Test_data.df",
            ),
        ),
        terms=_GROUPLENS,
        citation="Harper & Konstan, ACM TiiS 2015; rows: Liao et al., LLaRA, SIGIR 2024",
        reader="movielens_100k",
    ),
    Card(
        name="movielens_1m",
        title="MovieLens-1M: sequences of gSASRec, 999,611 interactions with 3,416 films by 6,040 users",
        family=FAMILY,
        folder="movielens_1m",
        files=(
            CardFile(
                raw_file(_ML1M, "data/ml-1m/movies.dat"),
                "0140fc2356357c1a851d0f52e893a1e4d3696df632c4141cea8d5bc3d621f0b9",
                171_308,
            ),
            CardFile(
                raw_file(_ML1M, "data/ml-1m/ratings.parquet"),
                "b354c7081dd0a6ca6b2711d6ae48d057ade864332ae90e28856372997d88994f",
                1_549_462,
                saved="ratings_pairs_only.parquet",
            ),
            CardFile(
                raw_file(_GSASREC, "datasets/ml1m/train/input.txt"),
                "06957b3d3cc937ac05e5f5ade2d2d5c1042efdd2b6779b768140e74d4f6b20e3",
                4_177_265,
                saved="gsasrec/train_input.txt",
            ),
            CardFile(
                raw_file(_GSASREC, "datasets/ml1m/val/input.txt"),
                "e4503bcef51a7689c48d491bd0dc090f053b8103b2c2bf6eed3bc31699fa09ca",
                357_178,
                saved="gsasrec/val_input.txt",
            ),
            CardFile(
                raw_file(_GSASREC, "datasets/ml1m/val/output.txt"),
                "bb290f4a647533bef0f74cfaa6e74260d6e461da4fda072b9aaa6231c86240df",
                2_196,
                saved="gsasrec/val_output.txt",
            ),
            CardFile(
                raw_file(_GSASREC, "datasets/ml1m/test/output.txt"),
                "6c9b242c789691b9680374d87a0fee61d6b473b99bed8439e4262a307c98d4ba",
                25_790,
                saved="gsasrec/test_output.txt",
            ),
            CardFile(
                raw_file(_ML1M_MAPPING, "sas_to_original_items.txt"),
                "9ae42c23af0b0fe2f189b9d5acc6cf3936bffe1a9568390cf5d100c0c1b1fca1",
                32_109,
                saved="gsasrec/sas_to_original_items.txt",
            ),
            CardFile(
                raw_file(_ML1M_MAPPING, "sas_to_original_users.txt"),
                "121893a66ab13fad83a67e12e3b3e6ddc56bcd01f0bcedf2ccb10bd8405e6239",
                58_186,
                saved="gsasrec/sas_to_original_users.txt",
            ),
        ),
        terms=_GROUPLENS,
        citation="Harper & Konstan, ACM TiiS 2015; sequences: Petrov & Macdonald, RecSys 2023",
        reader="movielens_1m",
    ),
    Card(
        name="lastfm_hetrec",
        title="Last.fm (HetRec 2011): artists tagged by 1,892 users, with dates",
        family=FAMILY,
        folder="lastfm_hetrec2011",
        files=(
            CardFile(
                raw_file(_HETREC_TAGGED, "data/user_taggedartists.dat"),
                "c4a9ffae9ab47a9f9b2f0678ab1f7e5c1db4ca818837d8cddd1f5699c5bbf048",
                4_180_216,
            ),
            CardFile(
                raw_file(_HETREC_NAMES, "data/artists.dat"),
                "a6928e7c2272bcb81fa92a4b4adb03ac8d1d6f08b320190ff7c2623f01494403",
                1_943_512,
            ),
            CardFile(
                raw_file(_HETREC_NAMES, "data/tags.dat"),
                "e95175f259be4c0c47644ae23d66131cd6d5767142a1405000e79f5584691d70",
                234_468,
            ),
        ),
        terms="non-commercial use",
        citation="Cantador, Brusilovsky & Kuflik, HetRec 2011",
        reader="lastfm_hetrec",
    ),
    Card(
        name="lastfm_llara",
        title="LLaRA Last.fm: next artist among twenty, 976 + 122 + 122 sequences",
        family=FAMILY,
        folder="llara/lastfm",
        files=(
            CardFile(
                raw_file(_LLARA, "data/ref/lastfm/train_data.df"),
                "7db71a60d3da4c449091fbc254efc9602f81eec6eb9a60534811ccd61974dbc1",
                2_462_846,
            ),
            CardFile(
                raw_file(_LLARA, "data/ref/lastfm/Val_data.df"),
                "92a1ddb65ebdeff999f910b65660eb3d8c7cd85e6a19308d80c429481839f8b3",
                6_690,
            ),
            CardFile(
                raw_file(_LLARA, "data/ref/lastfm/Test_data.df"),
                "cac058a2842b2a3ed4d39ed1fa0a742f5034a23c9851a2ffc157b4845d703570",
                6_673,
            ),
            CardFile(
                raw_file(_LLARA_COPY, "data/lastfm/id2name.txt"),
                "b608bcf14300b1608ccd88f4fe240e6345125201ecdb55157395c19787fe4eaf",
                85_003,
            ),
            CardFile(
                raw_file(_SDPO, "sample_data/lastfm-sft-cans20/lastfm-val.json"),
                "4fe1044f3c95eb77d402d0fc2d1b513bf3a585225c344b8f84c23b1c3f3007a4",
                2_195_006,
                saved="sdpo_lastfm/lastfm-val.json",
            ),
        ),
        terms=f"{NOT_STATED}; Last.fm terms apply (non-commercial)",
        citation="Liao et al., LLaRA, SIGIR 2024; lists: Chen et al., S-DPO, NeurIPS 2024",
        reader="lastfm_llara",
    ),
    Card(
        name="steam_llara",
        title="LLaRA Steam: next game, held-out rows and 1,000 of the training rows",
        family=FAMILY,
        folder="llara/steam",
        files=(
            CardFile(
                raw_file(_LLARA, "data/ref/steam/train_data.df1000"),
                "3175076a6e5fcd3e516b1e5dcf16d72af083baf0bd589d2bfac1c1682fefad5f",
                57_361,
            ),
            CardFile(
                raw_file(_LLARA_COPY, "data/steam/Val_data.df"),
                "84cd6a73ffea7e64e88e0c01357e01ffc7492fac3870dcccb417939c82fc764b",
                59_281,
            ),
            CardFile(
                raw_file(_LLARA_COPY, "data/steam/Test_data.df"),
                "2766b9faf90e3531a35207c01fbef2f655af97c21a6ba7d18581bbef2bc6ad59",
                59_142,
            ),
            CardFile(
                raw_file(_LLARA_COPY, "data/steam/id2name.txt"),
                "dada06a1306c36c91fb1ee3f980df7bee894024b3f52d20832ec2340524d7b7b",
                91_894,
            ),
        ),
        terms=NOT_STATED,
        citation="Liao et al., LLaRA, SIGIR 2024",
        reader="steam_llara",
    ),
    Card(
        name="zhihu",
        title="DreamRec Zhihu: 77,712 interactions in 11,714 sequences",
        family=FAMILY,
        folder="dreamrec/zhihu_renamed_columns",
        files=(
            CardFile(
                raw_file(_ZHIHU, "data/zhihu/train_data.df"),
                "830797193d17940f7fb70aca6db8e820c0aa038bca476569b0d9cd436b98f544",
                3_069_766,
            ),
            CardFile(
                raw_file(_ZHIHU, "data/zhihu/val_data.df"),
                "5b9bf67ca98c1802e38714fc4d36bcde236f5f1c5bc189bf25e7c2c7c38077d3",
                407_693,
            ),
            CardFile(
                raw_file(_ZHIHU, "data/zhihu/test_data.df"),
                "53430066e13617acd1d8c54d77789a95b4eca060e163dc75dec93c5698dfc342",
                395_328,
            ),
            CardFile(
                raw_file(_ZHIHU, "data/zhihu/data_statis.df"),
                "8db1db34574c4dea91f8f290c33c18d7ae0ef348e6a1211f1309dbc468ad8623",
                720,
            ),
        ),
        terms="repository MIT (rows); data not stated",
        citation="Yang et al., DreamRec, NeurIPS 2023",
        reader="zhihu",
    ),
    Card(
        name="yoochoose",
        title="DreamRec YooChoose: validation and test windows",
        family=FAMILY,
        folder="dreamrec/yc",
        files=(
            CardFile(
                raw_file(_DREAMREC, "data/yc/val_data.df"),
                "fce45a6897510fad31f9db4d5b686c4d1d33def69daf2e30d4698c4808481b33",
                3_265_699,
            ),
            CardFile(
                raw_file(_DREAMREC, "data/yc/test_data.df"),
                "8bd08f43cfab8793f7ffe308bb6fad68a0345502134dcdd6eb0944eec86368ec",
                3_143_907,
            ),
            CardFile(
                raw_file(_DREAMREC, "data/yc/data_statis.df"),
                "9c8efa2a88fa4f5470ea9d46b3e71c2bc19af54f41116d2274db4c560914df5b",
                706,
            ),
        ),
        terms=NOT_STATED,
        citation="Yang et al., DreamRec, NeurIPS 2023",
        reader="yoochoose",
    ),
    Card(
        name="retailrocket",
        title="DROS RetailRocket: sessions of views and purchases, validation and test windows",
        family=FAMILY,
        folder="dros_sessions/rr",
        files=(
            CardFile(
                raw_file(_DROS, "data/rr/val_sessions.df"),
                "fca97b4c4546a044e2005f8481d349fc4fc67d29e36bece5a2fc577a51329645",
                3_094_028,
            ),
            CardFile(
                raw_file(_DROS, "data/rr/test_sessions.df"),
                "e329c50c33709f90535c8472dbbe5c2acf988f95a98b2d379d37f54b352eab42",
                2_985_463,
            ),
        ),
        terms=NOT_STATED,
        citation="Yang et al., DROS, SIGIR 2023",
        reader="retailrocket",
    ),
    Card(
        name="amazon_beauty",
        title="Amazon Beauty 5-core: 22,363 users, 12,101 items, 198,502 interactions",
        family=FAMILY,
        folder="amazon_s3rec",
        files=(
            CardFile(
                raw_file(_S3REC, "data/Beauty.txt"),
                "226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8",
                1_090_094,
            ),
            CardFile(
                raw_file(_S3REC, "data/Beauty_item2attributes.json"),
                "129e40f67486f6877eff0f5318cfa8530ee8ac23d8b0d1de04e1bb7a2ba0b2d4",
                305_674,
            ),
        ),
        terms=NOT_STATED,
        citation="Zhou et al., S3-Rec, CIKM 2020",
        reader="amazon_beauty",
    ),
    Card(
        name="amazon_beauty_preferdiff",
        title="Amazon Beauty split by user",
        family=FAMILY,
        folder="amazon_preferdiff/Beauty",
        files=(
            CardFile(
                raw_file(_PREFERDIFF, "data/Beauty/train_data.txt"),
                "8178d83653b065faa2531d607fcd772d7f30dfb3178443d81431aa2731ab81c0",
                656_929,
            ),
            CardFile(
                raw_file(_PREFERDIFF, "data/Beauty/valid_data.txt"),
                "73c76eac11d048bdf8f0906268c16298a66e87a081c53ae140716444aba11da9",
                82_610,
            ),
            CardFile(
                raw_file(_PREFERDIFF, "data/Beauty/test_data.txt"),
                "5eb544d43d8e9ec51f921e6385f359badc8e7fc548a637a70d1c9b14714c506a",
                81_860,
            ),
        ),
        terms=NOT_STATED,
        citation="Liu et al., PreferDiff, ICLR 2025",
        reader="amazon_beauty_preferdiff",
    ),
    Card(
        name="amazon_video_games",
        title="Amazon Video Games: 31,013 users, 23,715 items, 287,107 interactions",
        family=FAMILY,
        folder="amazon_sasrec",
        files=(
            CardFile(
                raw_file(_SASREC, "python/data/Video.txt"),
                "b7376fe24430743f411dc7f567285657b2adb3f74361cc7ba0aee94f3024b651",
                3_187_124,
            ),
        ),
        terms="repository Apache-2.0; Amazon review data terms not stated",
        citation="Kang & McAuley, SASRec, ICDM 2018; McAuley et al. 2015",
        reader="amazon_video_games",
    ),
)

RECOMMENDATION_CARDS = {card.name: card for card in _CARDS}
