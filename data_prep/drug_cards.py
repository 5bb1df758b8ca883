"""Cards of data sets about drugs: interactions, side effects, captions."""

from __future__ import annotations

from data_prep.card import NOT_STATED, Card, CardFile, raw_file

_MIRACLE = "isjakewong/MIRACLE/f0c701d505b2c365f8e4beb86286dfb35eebe697"
_KNOWDDI = "LARS-research/KnowDDI/bcd04dfcec750bd2acc30b42685e64550b050c69"
_SSI_DDI = "kanz76/SSI-DDI/23e958f65f59f689edea8d68a38f944c6d18dc96"
_CASTER = "kexinhuang12345/CASTER/6e3484b2f36d61e4e7760db77051339f50a83565"
_MOLT5 = "blender-nlp/MolT5/754f9bffa4a638e2f1386d0ca19b5c3ed0a5b4aa"
_DRUGBANK = "not stated in the repository; DrugBank content is offered for non-commercial use only"

DRUG_CARDS = (
    Card(
        name="chchminer",
        title="ChCh-Miner: binary drug-drug interactions of 959 drugs",
        family="ddi",
        folder="chchminer",
        files=(
            CardFile(
                raw_file(_MIRACLE, "MIRACLE/datachem/ChChMiner_train.csv"),
                "59fc2dd35e9e0e5373b24c35bdf60a3907786c6e100d77104e7a67d5a04d9a8e",
                3_595_552,
                part="train",
            ),
            CardFile(
                raw_file(_MIRACLE, "MIRACLE/datachem/ChChMiner_valid.csv"),
                "0f1b8fbc11dd2163c4be7326ddf7b1b00e54bcd1e5c40bbc193e45a6c5212be3",
                809_085,
                part="valid",
            ),
            CardFile(
                raw_file(_MIRACLE, "MIRACLE/datachem/ChChMiner_test.csv"),
                "b9602b5fdd86d8e7177a74caaecab568f737704c4479a2179e68cd62c5a2d5ee",
                817_906,
                part="test",
            ),
        ),
        terms=_DRUGBANK,
        citation="Zitnik et al., BIOSNAP 2018; Wang et al., MIRACLE, WWW 2021",
        reader="ddi.read_miracle",
        fractions=(0.6, 0.2, 0.2),
        resample_negatives=True,
    ),
    Card(
        name="zhangddi",
        title="ZhangDDI: binary drug-drug interactions of 544 drugs",
        family="ddi",
        folder="zhangddi",
        files=(
            CardFile(raw_file(_MIRACLE, "MIRACLE/datachem/ZhangDDI_train.csv"), part="train"),
            CardFile(raw_file(_MIRACLE, "MIRACLE/datachem/ZhangDDI_valid.csv"), part="valid"),
            CardFile(raw_file(_MIRACLE, "MIRACLE/datachem/ZhangDDI_test.csv"), part="test"),
        ),
        terms=NOT_STATED,
        citation="Zhang et al., BMC Bioinformatics 2017; Wang et al., MIRACLE, WWW 2021",
        reader="ddi.read_miracle",
        fractions=(0.6, 0.2, 0.2),
        resample_negatives=True,
    ),
    Card(
        name="deepddi",
        title="DeepDDI as yes/no question: drug-drug interactions of 1,704 drugs",
        family="ddi",
        folder="deepddi",
        files=(
            CardFile(raw_file(_MIRACLE, "MIRACLE/datachem/DeepDDI_train.csv"), part="train"),
            CardFile(raw_file(_MIRACLE, "MIRACLE/datachem/DeepDDI_valid.csv"), part="valid"),
            CardFile(raw_file(_MIRACLE, "MIRACLE/datachem/DeepDDI_test.csv"), part="test"),
        ),
        terms=_DRUGBANK,
        citation="Ryu et al., PNAS 2018 (10.1073/pnas.1803294115); Wang et al., MIRACLE, WWW 2021",
        reader="ddi.read_miracle",
        fractions=(0.6, 0.2, 0.2),
        resample_negatives=True,
    ),
    Card(
        name="biosnap_caster",
        title="BIOSNAP as split by CASTER, test part: 8,277 interactions and 8,331 sampled negatives",
        family="ddi",
        folder="biosnap_caster",
        files=(
            CardFile(
                raw_file(_CASTER, "DDE/data/BIOSNAP/sup_test.csv"),
                "9787ca8de02c0eb7c0589a37d36f6f47dbbb5c4515f6a40039e1d9e1a1774c2f",
                2_240_463,
                part="test",
            ),
        ),
        terms=_DRUGBANK,
        citation="Zitnik et al., BIOSNAP 2018; Huang et al., CASTER, AAAI 2020",
        reader="ddi.read_caster",
    ),
    Card(
        name="drugbank86",
        title="DrugBank interactions in 86 types: 191,870 typed pairs",
        family="typed-ddi",
        folder="drugbank_ddi86",
        files=(
            CardFile(
                raw_file(_KNOWDDI, "raw_data/Drugbank/Drugbank.txt"),
                "3ab864ab8395c515c5d9e0018ced9b255ebf9046e47104836605d7d67db96bb8",
                3_641_706,
            ),
            CardFile(
                raw_file(_SSI_DDI, "data/drug_smiles.csv"),
                "85e5e33ec5a49ceb1bf097ccb50129e4808fd9574dbd8626e70ea7e47d009fd3",
                133_777,
                read=False,
                companion="always",
            ),
            CardFile(
                raw_file(_SSI_DDI, "data/Interaction_information.csv"),
                "b2257cc4a528a1d270ba7288067524ac37dc691ee7f5fb5b1a2f86558825d6d9",
                7_731,
                read=False,
                companion="always",
            ),
            CardFile(
                raw_file(_KNOWDDI, "raw_data/Drugbank/train.txt"),
                "03f8914ee1ea96ad7af87802937b6e65458698c149ec0b2bdc5bd4ee2d6295c1",
                1_517_085,
                part="train",
                read=False,
            ),
            CardFile(
                raw_file(_KNOWDDI, "raw_data/Drugbank/valid.txt"),
                "c1d8abeddf437ab925a7cb4a3399da53e2098270f56178104469665c704432a9",
                216_537,
                part="valid",
                read=False,
            ),
            CardFile(
                raw_file(_KNOWDDI, "raw_data/Drugbank/test.txt"),
                "cdac65c3a32f821f4f29fea24937e76cf12c1eda99e50c690a82548cf2b1a4d7",
                432_824,
                part="test",
                read=False,
            ),
            CardFile(
                raw_file(_KNOWDDI, "raw_data/Drugbank/node2id.json"),
                "453f7db90ae87b7ddbd31c94f8d40820d9e0242a0093d27d8898c224adca4208",
                27_960,
                read=False,
                companion="published split",
            ),
        ),
        terms=_DRUGBANK,
        citation="Ryu et al., PNAS 2018 (10.1073/pnas.1803294115); Nyamabo et al., SSI-DDI 2021",
        reader="typed.read_drugbank",
        part_reader="typed.read_drugbank_part",
        fractions=(0.6, 0.2, 0.2),
    ),
    Card(
        name="twosides_slice",
        title="TWOSIDES, validation part of the 200-label version",
        family="side-effect",
        folder="twosides_slice",
        files=(
            CardFile(
                raw_file(_KNOWDDI, "raw_data/BioSNAP/valid.txt"),
                "d85fa8b31796e34c0e5498007abf5aadd1600321c1e30618ec81eed62c9bffab",
                3_380_973,
            ),
            CardFile(
                raw_file(_KNOWDDI, "raw_data/BioSNAP/id2drug.json"),
                "a7dc30a87be8f08b9bd686313024de701c2e0546d59cfca126a194b477114f23",
                69_317,
                read=False,
                companion="always",
            ),
            CardFile(
                raw_file(_KNOWDDI, "raw_data/BioSNAP/id2relation.json"),
                "901a965e68550cd7f13989370d17e131fa5c4264568fa23b5d3306c377ed6dc1",
                3_690,
                read=False,
                companion="always",
            ),
        ),
        terms=NOT_STATED,
        citation="Tatonetti et al., Sci. Transl. Med. 2012; Yu et al., SumGNN 2021",
        reader="side_effects.read_twosides",
    ),
    Card(
        name="chebi20",
        title="ChEBI-20 molecule captions, validation and test",
        family="caption",
        folder="chebi20",
        files=(
            CardFile(
                raw_file(_MOLT5, "ChEBI-20_data/validation.txt"),
                "f410b58e6825986577d01b4f0c14b59ed61c1343a15118ba584de4bbcea1508c",
                1_289_422,
            ),
            CardFile(
                raw_file(_MOLT5, "ChEBI-20_data/test.txt"),
                "91776254b54ef13ad701ede0ecdbd7bcd30c19a66e52aa34a6dac8d0e7306d72",
                1_274_868,
            ),
        ),
        terms="repository BSD-3-Clause",
        citation="Edwards et al., Text2Mol, EMNLP 2021; MolT5, EMNLP 2022",
        reader="captions.read_chebi",
    ),
)
