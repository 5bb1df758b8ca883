"""Recommenders trained by gradient on sequences: recurrent, convolutional and attention networks.

``reference`` holds the networks as the papers that compare with them use them; the modules beside it hold the
stronger form, which computes no padding, trains every position in one pass and shares the item table between
input and output.
"""

from graphrec.sequential.cl4srec import CL4SRec
from graphrec.sequential.recommender import Caser, GRU4Rec, SASRec

__all__ = ["CL4SRec", "Caser", "GRU4Rec", "SASRec"]
