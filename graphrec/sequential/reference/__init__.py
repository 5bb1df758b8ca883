"""GRU4Rec, Caser and SASRec exactly as published comparisons train them, on rows padded on the right.

Parameters carry the names of the published weights, so that those load as they are. Their training recipe
(DROS, SIGIR 2023; LLaRA, arXiv 2312.02445) is one row for each prefix, a separate output layer with bias and
one uniform negative. Letters: B rows, L places of a row, d width, I items; number I pads.
"""
