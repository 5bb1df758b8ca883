"""Cards of data sets about a molecule in a solvent: solvation free energies and optical properties."""

from __future__ import annotations

from data_prep.card import NOT_STATED, Card, CardFile, raw_file

_FREESOLV = "MobleyLab/FreeSolv/ff0961a3177863c8002e8487ff9718c513974138"
_I2MOL = "magnificent0121/I2Mol/efbaa9878c18e1fa6b1960ac9ff3d87a5167fe5b"
_SOLVBERT = "su-group/SolvBERT/77706db56a15403a93a8b9b3083bd385976e1ba0"
_UVVISML = "learningmatter-mit/uvvisml/72b2a3ea391f39b8300cefeafd71cae340634740"
_SOLVBERT_CITATION = (
    "Vermeire & Green, Chem. Eng. J. 2021 (10.1016/j.cej.2021.129307); Yu et al., Digital Discovery 2023"
)

SOLVENT_CARDS = (
    Card(
        name="freesolv",
        title="FreeSolv 0.52: hydration free energies of 642 molecules",
        family="solvation",
        folder="freesolv",
        files=(
            CardFile(
                raw_file(_FREESOLV, "database.txt"),
                "2d13f095713bc39b85f85dd7b4e5483fbb12fc694bf253bb1d92a4c4d484f260",
                144_897,
            ),
        ),
        terms=NOT_STATED,
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
                raw_file(_I2MOL, "data/exp_data.csv"),
                "f9339b8e36512b2db4c6e1dc3585f1eec13aa06265defed6eca548b4356c191c",
                1_987_397,
            ),
        ),
        terms=NOT_STATED,
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
                raw_file(_SOLVBERT, "solv-bert/data/CombiSolv-Exp-8780.csv"),
                "984172a8b2229e96be34e84c59b84a17221dd92762a6ef1adb18a46daa5bc6ee",
                260_549,
            ),
            CardFile(
                raw_file(_SOLVBERT, "solv-bert/data/training_files/EXP_train.csv"),
                "d2b1b571abac91f90425321155a4ff56fe5e2ef15649646fd1fbb8ab997fbdb2",
                207_250,
                part="train",
                read=False,
            ),
            CardFile(
                raw_file(_SOLVBERT, "solv-bert/data/training_files/EXP_eval.csv"),
                "5f2dbc3a916383ccd03712cee1aa24f2c4848725ee080e50c1a1076663c4f70a",
                26_149,
                part="valid",
                read=False,
            ),
            CardFile(
                raw_file(_SOLVBERT, "solv-bert/data/training_files/EXP_test.csv"),
                "26d4f88af375528575afe191158ec5377c3b004eb1664d86615c9253173f8af2",
                26_372,
                part="test",
                read=False,
            ),
        ),
        terms=NOT_STATED,
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
                raw_file(_SOLVBERT, "solv-bert/data/training_files/QM_10w_train.csv"),
                "dc39c8df39f9c3e34e87aa847433c8496c5073569cd433332a8b582727feb8a5",
                3_404_620,
                part="train",
            ),
            CardFile(
                raw_file(_SOLVBERT, "solv-bert/data/training_files/QM_10w_eval.csv"),
                "71ab4580316f213ea462571075fd03af31d1e201e9311c91c15e2fc3de596866",
                426_230,
                part="valid",
            ),
            CardFile(
                raw_file(_SOLVBERT, "solv-bert/data/training_files/QM_10w_test.csv"),
                "375455fbf825e463bb9799d09a056acce54978ac293ab470ef9ce483b470155d",
                425_266,
                part="test",
            ),
        ),
        terms=NOT_STATED,
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
                raw_file(_SOLVBERT, "solv-bert/data/training_files/QM_1k_train.csv"),
                "3884dabc296cb616107768c43d57bbcda4bfc9a56ae4b7fa42f39559489d4edc",
                33_893,
            ),
        ),
        terms=NOT_STATED,
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
                raw_file(_I2MOL, "data/Abraham.csv"),
                "77288680a19ef9b2c82ce0e676a3d515acb95ef48acab5bf3055e63fcbc25eca",
                1_427_432,
            ),
        ),
        terms=NOT_STATED,
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
                raw_file(_I2MOL, "data/FreeSolv.csv"),
                "90ede70940e4ba1556df2635d0c8cda0fb6fef73a85a85b78a67a04cc523c010",
                195_459,
            ),
        ),
        terms=NOT_STATED,
        citation="Vermeire & Green, Chem. Eng. J. 2021 (10.1016/j.cej.2021.129307)",
        reader="solvation.read_combisolv_numbered",
    ),
    Card(
        name="chromophore",
        title="Optical properties of 20,236 chromophore-solvent pairs",
        family="chromophore",
        folder="chromophore",
        files=(
            CardFile(
                raw_file(_UVVISML, "uvvisml/data/original/joung/DB_for_chromophore_Sci_Data_rev02.csv"),
                "931948b68bc090afc8c067fe294ed6d62352c6df1a72ddfdca24edf323fb2726",
                3_406_886,
            ),
        ),
        terms="repository MIT; data set on figshare (10.6084/m9.figshare.12045567.v2)",
        citation="Joung et al., Sci. Data 2020, 7:295",
        reader="chromophore.read_joung",
        options=("property", "keep_solid_state"),
    ),
)
