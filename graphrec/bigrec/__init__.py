"""BIGRec: a language model writes a title, and grounding finds the catalogue's nearest ones."""
