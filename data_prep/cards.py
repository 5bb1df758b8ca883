"""Cards of the molecular data sets: files with checksum and address, terms, citation, reader.

Nothing of the data is shipped with the package. Terms are those found in the repositories named; "not stated"
means that no licence covers the data there.
"""

from __future__ import annotations

from data_prep.drug_cards import DRUG_CARDS
from data_prep.molecule_cards import MOLECULE_CARDS
from data_prep.solvent_cards import SOLVENT_CARDS

CARDS = {card.name: card for card in (*SOLVENT_CARDS, *DRUG_CARDS, *MOLECULE_CARDS)}
