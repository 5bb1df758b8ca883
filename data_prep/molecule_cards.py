"""Cards of data sets about single molecules: solubility, lipophilicity, the blood-brain barrier."""

from __future__ import annotations

from data_prep.card import Card, CardFile, raw_file

_DEEPCHEM = "deepchem/deepchem/fbe3b911a94a6eb8c84c1a9e7ac67a472c49ea80"
_COLLECTION = "GLambard/Molecules_Dataset_Collection/beb35cd0b76db5adef6cb1fa55807e4cd309aaed"
_MOLECULENET = "Wu et al., MoleculeNet, Chem. Sci. 2018, 9:513"

MOLECULE_CARDS = (
    Card(
        name="esol",
        title="ESOL: measured solubility in water of 1,128 molecules",
        family="molecule-property",
        folder="moleculenet",
        files=(
            CardFile(
                raw_file(_DEEPCHEM, "datasets/delaney-processed.csv"),
                "8c06a76f0c6487d29ab0f903e6a7a7139f189ab3c1178f159c8be8964602f189",
                96_699,
            ),
        ),
        terms="repository MIT",
        citation=f"Delaney, J. Chem. Inf. Comput. Sci. 2004; {_MOLECULENET}",
        reader="single_molecules.read_esol",
    ),
    Card(
        name="lipophilicity",
        title="Lipophilicity: measured log D at pH 7.4 of 4,200 molecules",
        family="molecule-property",
        folder="moleculenet",
        files=(
            CardFile(
                raw_file(_COLLECTION, "originals/Lipophilicity.csv"),
                "aed41590cb30609d51d8e08ad3ff06495a76e80e211358801f596b10da69bacd",
                282_606,
            ),
        ),
        terms="repository MIT",
        citation=_MOLECULENET,
        reader="single_molecules.read_lipophilicity",
    ),
    Card(
        name="bbbp",
        title="BBBP: whether 2,050 molecules pass the blood-brain barrier",
        family="molecule-class",
        folder="moleculenet",
        files=(
            CardFile(
                raw_file(_COLLECTION, "originals/BBBP.csv"),
                "d07a38487aeac5cee5508413e468043ef3097451d2a112701c2d60be9ec6b662",
                148_743,
            ),
        ),
        terms="repository MIT",
        citation=f"Martins et al., J. Chem. Inf. Model. 2012; {_MOLECULENET}",
        reader="single_molecules.read_bbbp",
    ),
)
