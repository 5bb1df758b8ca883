"""DreamRec (Yang et al., NeurIPS 2023): the vector of the ideal next item is generated, then looked up.

How vectors are noised and generated: schedules, denoiser, plans, sampling, closed_form. What is trained:
prefixes, last_state, network, losses, objective, recommender. Whether the item table collapsed: diagnostics.
"""

from graphrec.dreamrec.config import DreamRecConfig
from graphrec.dreamrec.recommender import DreamRec

__all__ = ["DreamRec", "DreamRecConfig"]
