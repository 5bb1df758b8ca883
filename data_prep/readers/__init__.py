"""One file per family of raw formats; each reader turns published files into
:class:`~data_prep.records.RawPairs`.
"""
