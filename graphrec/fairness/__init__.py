"""Fairness to groups of items, for any recommender: what it is, and what mends it (IFairLRS and beyond).

:mod:`groups` and :mod:`unfairness` measure, :mod:`reweighting` acts on training, :mod:`punishment` and
:mod:`reranking` on finished scores, :mod:`calibration` meets a target at least cost, :mod:`decoding` does so
while answers are chosen; :mod:`study` and :mod:`report` put all of it to a saved model.
"""
