"""Cards of the molecular data sets: files with checksum and address, terms, citation, reader.

Nothing of the data is shipped with the package. Terms are those found in the repositories named; "not stated"
means that no licence covers the data there.
"""

from __future__ import annotations

from dataclasses import dataclass

from data_prep.splits import Fractions


@dataclass(frozen=True)
class CardFile:
    """One published file.

    ``read`` files make up the default build; ``part`` is the file's own part (train, valid, test) where the
    publication splits by file.
    """

    url: str
    sha256: str | None = None
    bytes: int | None = None
    part: str | None = None
    read: bool = True

    @property
    def name(self) -> str:
        """The file's name, as published."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Card:
    """One data set of the catalogue; ``reader`` names ``module.function`` in :mod:`data_prep.readers`."""

    name: str
    title: str
    family: str
    folder: str
    files: tuple[CardFile, ...]
    terms: str
    citation: str
    reader: str | None
    fractions: Fractions = (0.8, 0.1, 0.1)
    resample_negatives: bool = False


def _raw(repository: str, path: str) -> str:
    return f"https://raw.githubusercontent.com/{repository}/{path}"


_MIRACLE = "isjakewong/MIRACLE/f0c701d505b2c365f8e4beb86286dfb35eebe697"
_KNOWDDI = "LARS-research/KnowDDI/bcd04dfcec750bd2acc30b42685e64550b050c69"
_SSI_DDI = "kanz76/SSI-DDI/23e958f65f59f689edea8d68a38f944c6d18dc96"
_FREESOLV = "MobleyLab/FreeSolv/ff0961a3177863c8002e8487ff9718c513974138"
_I2MOL = "magnificent0121/I2Mol/efbaa9878c18e1fa6b1960ac9ff3d87a5167fe5b"
_SOLVBERT = "su-group/SolvBERT/77706db56a15403a93a8b9b3083bd385976e1ba0"
_UVVISML = "learningmatter-mit/uvvisml/72b2a3ea391f39b8300cefeafd71cae340634740"
_MOLT5 = "blender-nlp/MolT5/754f9bffa4a638e2f1386d0ca19b5c3ed0a5b4aa"

_NOT_STATED = "not stated in the repository"
_DRUGBANK = "not stated in the repository; DrugBank content is offered for non-commercial use only"
_SOLVBERT_CITATION = (
    "Vermeire & Green, Chem. Eng. J. 2021 (10.1016/j.cej.2021.129307); Yu et al., Digital Discovery 2023"
)

_CARDS = (
    Card(
        name="freesolv",
        title="FreeSolv 0.52: hydration free energies of 642 molecules",
        family="solvation",
        folder="freesolv",
        files=(
            CardFile(
                _raw(_FREESOLV, "database.txt"),
                "2d13f095713bc39b85f85dd7b4e5483fbb12fc694bf253bb1d92a4c4d484f260",
                144_897,
            ),
        ),
        terms=_NOT_STATED,
        citation="Mobley & Guthrie 2014; Duarte Ramos Matos et al. 2017 (10.1021/acs.jced.7b00104)",
        reader="solvation.read_freesolv",
    ),
    Card(
        name="combisolv_exp",
        title="CombiSolv-Exp, open subset: 8,780 measured solvation free energies",
        family="solvation",
        folder="combisolv_exp",
        files=(
            CardFile(
                _raw(_I2MOL, "data/exp_data.csv"),
                "f9339b8e36512b2db4c6e1dc3585f1eec13aa06265defed6eca548b4356c191c",
                1_987_397,
            ),
        ),
        terms=_NOT_STATED,
        citation="Vermeire & Green, Chem. Eng. J. 2021 (10.1016/j.cej.2021.129307)",
        reader="solvation.read_combisolv",
    ),
    Card(
        name="combisolv_exp_joined",
        title="CombiSolv-Exp, open subset, as joined strings with the split of SolvBERT",
        family="solvation",
        folder="combisolv_exp",
        files=(
            CardFile(
                _raw(_SOLVBERT, "solv-bert/data/CombiSolv-Exp-8780.csv"),
                "984172a8b2229e96be34e84c59b84a17221dd92762a6ef1adb18a46daa5bc6ee",
                260_549,
            ),
            CardFile(
                _raw(_SOLVBERT, "solv-bert/data/training_files/EXP_train.csv"),
                "d2b1b571abac91f90425321155a4ff56fe5e2ef15649646fd1fbb8ab997fbdb2",
                207_250,
                part="train",
                read=False,
            ),
            CardFile(
                _raw(_SOLVBERT, "solv-bert/data/training_files/EXP_eval.csv"),
                "5f2dbc3a916383ccd03712cee1aa24f2c4848725ee080e50c1a1076663c4f70a",
                26_149,
                part="valid",
                read=False,
            ),
            CardFile(
                _raw(_SOLVBERT, "solv-bert/data/training_files/EXP_test.csv"),
                "26d4f88af375528575afe191158ec5377c3b004eb1664d86615c9253173f8af2",
                26_372,
                part="test",
                read=False,
            ),
        ),
        terms=_NOT_STATED,
        citation=_SOLVBERT_CITATION,
        reader="solvation.read_solvbert",
    ),
    Card(
        name="combisolv_qm",
        title="CombiSolv-QM, subset: 100,000 solvation free energies computed with COSMOtherm",
        family="solvation",
        folder="combisolv_qm",
        files=(
            CardFile(
                _raw(_SOLVBERT, "solv-bert/data/training_files/QM_10w_train.csv"),
                "dc39c8df39f9c3e34e87aa847433c8496c5073569cd433332a8b582727feb8a5",
                3_404_620,
                part="train",
            ),
            CardFile(
                _raw(_SOLVBERT, "solv-bert/data/training_files/QM_10w_eval.csv"),
                "71ab4580316f213ea462571075fd03af31d1e201e9311c91c15e2fc3de596866",
                426_230,
                part="valid",
            ),
            CardFile(
                _raw(_SOLVBERT, "solv-bert/data/training_files/QM_10w_test.csv"),
                "375455fbf825e463bb9799d09a056acce54978ac293ab470ef9ce483b470155d",
                425_266,
                part="test",
            ),
        ),
        terms=_NOT_STATED,
        citation=_SOLVBERT_CITATION,
        reader="solvation.read_solvbert",
    ),
    Card(
        name="combisolv_qm_1k",
        title="CombiSolv-QM, 800 rows for quick tries",
        family="solvation",
        folder="combisolv_qm",
        files=(
            CardFile(
                _raw(_SOLVBERT, "solv-bert/data/training_files/QM_1k_train.csv"),
                "3884dabc296cb616107768c43d57bbcda4bfc9a56ae4b7fa42f39559489d4edc",
                33_893,
            ),
        ),
        terms=_NOT_STATED,
        citation=_SOLVBERT_CITATION,
        reader="solvation.read_solvbert",
    ),
    Card(
        name="abraham",
        title="Abraham subset of CombiSolv-Exp: 6,091 rows",
        family="solvation",
        folder="combisolv_exp",
        files=(
            CardFile(
                _raw(_I2MOL, "data/Abraham.csv"),
                "77288680a19ef9b2c82ce0e676a3d515acb95ef48acab5bf3055e63fcbc25eca",
                1_427_432,
            ),
        ),
        terms=_NOT_STATED,
        citation="Vermeire & Green, Chem. Eng. J. 2021 (10.1016/j.cej.2021.129307)",
        reader="solvation.read_combisolv_numbered",
    ),
    Card(
        name="freesolv_560",
        title="FreeSolv subset of CombiSolv-Exp: 560 rows",
        family="solvation",
        folder="combisolv_exp",
        files=(
            CardFile(
                _raw(_I2MOL, "data/FreeSolv.csv"),
                "90ede70940e4ba1556df2635d0c8cda0fb6fef73a85a85b78a67a04cc523c010",
                195_459,
            ),
        ),
        terms=_NOT_STATED,
        citation="Vermeire & Green, Chem. Eng. J. 2021 (10.1016/j.cej.2021.129307)",
        reader="solvation.read_combisolv_numbered",
    ),
    Card(
        name="chchminer",
        title="ChCh-Miner: binary drug-drug interactions of 959 drugs",
        family="ddi",
        folder="chchminer",
        files=(
            CardFile(
                _raw(_MIRACLE, "MIRACLE/datachem/ChChMiner_train.csv"),
                "59fc2dd35e9e0e5373b24c35bdf60a3907786c6e100d77104e7a67d5a04d9a8e",
                3_595_552,
                part="train",
            ),
            CardFile(
                _raw(_MIRACLE, "MIRACLE/datachem/ChChMiner_valid.csv"),
                "0f1b8fbc11dd2163c4be7326ddf7b1b00e54bcd1e5c40bbc193e45a6c5212be3",
                809_085,
                part="valid",
            ),
            CardFile(
                _raw(_MIRACLE, "MIRACLE/datachem/ChChMiner_test.csv"),
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
            CardFile(_raw(_MIRACLE, "MIRACLE/datachem/ZhangDDI_train.csv"), part="train"),
            CardFile(_raw(_MIRACLE, "MIRACLE/datachem/ZhangDDI_valid.csv"), part="valid"),
            CardFile(_raw(_MIRACLE, "MIRACLE/datachem/ZhangDDI_test.csv"), part="test"),
        ),
        terms=_NOT_STATED,
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
            CardFile(_raw(_MIRACLE, "MIRACLE/datachem/DeepDDI_train.csv"), part="train"),
            CardFile(_raw(_MIRACLE, "MIRACLE/datachem/DeepDDI_valid.csv"), part="valid"),
            CardFile(_raw(_MIRACLE, "MIRACLE/datachem/DeepDDI_test.csv"), part="test"),
        ),
        terms=_DRUGBANK,
        citation="Ryu et al., PNAS 2018 (10.1073/pnas.1803294115); Wang et al., MIRACLE, WWW 2021",
        reader="ddi.read_miracle",
        fractions=(0.6, 0.2, 0.2),
        resample_negatives=True,
    ),
    Card(
        name="drugbank86",
        title="DrugBank interactions in 86 types: 191,870 typed pairs",
        family="typed-ddi",
        folder="drugbank_ddi86",
        files=(
            CardFile(
                _raw(_KNOWDDI, "raw_data/Drugbank/Drugbank.txt"),
                "3ab864ab8395c515c5d9e0018ced9b255ebf9046e47104836605d7d67db96bb8",
                3_641_706,
            ),
            CardFile(
                _raw(_SSI_DDI, "data/drug_smiles.csv"),
                "85e5e33ec5a49ceb1bf097ccb50129e4808fd9574dbd8626e70ea7e47d009fd3",
                133_777,
            ),
            CardFile(
                _raw(_SSI_DDI, "data/Interaction_information.csv"),
                "b2257cc4a528a1d270ba7288067524ac37dc691ee7f5fb5b1a2f86558825d6d9",
                7_731,
            ),
        ),
        terms=_DRUGBANK,
        citation="Ryu et al., PNAS 2018 (10.1073/pnas.1803294115); Nyamabo et al., SSI-DDI 2021",
        reader=None,
        fractions=(0.6, 0.2, 0.2),
    ),
    Card(
        name="chromophore",
        title="Optical properties of 20,236 chromophore-solvent pairs",
        family="chromophore",
        folder="chromophore",
        files=(
            CardFile(
                _raw(_UVVISML, "uvvisml/data/original/joung/DB_for_chromophore_Sci_Data_rev02.csv"),
                "931948b68bc090afc8c067fe294ed6d62352c6df1a72ddfdca24edf323fb2726",
                3_406_886,
            ),
        ),
        terms="repository MIT; data set on figshare (10.6084/m9.figshare.12045567.v2)",
        citation="Joung et al., Sci. Data 2020, 7:295",
        reader=None,
    ),
    Card(
        name="twosides_slice",
        title="TWOSIDES, validation part of the 200-label version",
        family="side-effect",
        folder="twosides_slice",
        files=(
            CardFile(
                _raw(_KNOWDDI, "raw_data/BioSNAP/valid.txt"),
                "d85fa8b31796e34c0e5498007abf5aadd1600321c1e30618ec81eed62c9bffab",
                3_380_973,
            ),
            CardFile(
                _raw(_KNOWDDI, "raw_data/BioSNAP/id2drug.json"),
                "a7dc30a87be8f08b9bd686313024de701c2e0546d59cfca126a194b477114f23",
                69_317,
            ),
            CardFile(
                _raw(_KNOWDDI, "raw_data/BioSNAP/id2relation.json"),
                "901a965e68550cd7f13989370d17e131fa5c4264568fa23b5d3306c377ed6dc1",
                3_690,
            ),
        ),
        terms=_NOT_STATED,
        citation="Tatonetti et al., Sci. Transl. Med. 2012; Yu et al., SumGNN 2021",
        reader=None,
    ),
    Card(
        name="chebi20",
        title="ChEBI-20 molecule captions, validation and test",
        family="captions",
        folder="chebi20",
        files=(
            CardFile(
                _raw(_MOLT5, "ChEBI-20_data/validation.txt"),
                "f410b58e6825986577d01b4f0c14b59ed61c1343a15118ba584de4bbcea1508c",
                1_289_422,
            ),
            CardFile(
                _raw(_MOLT5, "ChEBI-20_data/test.txt"),
                "91776254b54ef13ad701ede0ecdbd7bcd30c19a66e52aa34a6dac8d0e7306d72",
                1_274_868,
            ),
        ),
        terms="repository BSD-3-Clause",
        citation="Edwards et al., Text2Mol, EMNLP 2021; MolT5, EMNLP 2022",
        reader=None,
    ),
)

CARDS = {card.name: card for card in _CARDS}
