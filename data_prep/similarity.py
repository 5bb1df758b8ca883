"""How near each molecule of one set comes to another set: the largest Tanimoto coefficient of Morgan bits.

A test molecule that is not in train may still be a near twin of one that is. The similarity is that of
Rogers and Hahn (J. Chem. Inf. Model. 2010, 50, 742): bits in common over bits in either.
"""

from __future__ import annotations

import numpy as np

NEAR = 0.9  # a molecule at least this similar to one of the other set counts as near
_BINS = 10


def nearest_tanimoto(query: np.ndarray, reference: np.ndarray, *, chunk: int = 1024) -> np.ndarray:
    """The largest Tanimoto coefficient between each query and any reference, float32 [T].

    Args:
        query: packed bits, uint8 [T, F / 8].
        reference: packed bits, uint8 [M, F / 8], M >= 1.
        chunk: rows of each set that are compared at a time.

    Raises:
        ValueError: there is no reference.
    """
    if not len(reference):
        raise ValueError("there is no reference molecule: similarity to an empty set is not defined")
    best = np.zeros(len(query), np.float32)
    for start in range(0, len(query), chunk):
        rows = slice(start, start + chunk)
        bits = _unpacked(query[rows])
        for other in range(0, len(reference), chunk):
            tanimoto = _tanimoto(bits, _unpacked(reference[other : other + chunk]))
            best[rows] = np.maximum(best[rows], tanimoto.max(axis=1))
    return best


def similarity_summary(test: np.ndarray, train: np.ndarray, fingerprint: np.ndarray) -> dict:
    """How similar test molecules are to their nearest train molecule, in plain values.

    Args:
        test: distinct molecules of the test part, rows of ``fingerprint``, int [T].
        train: those of the train part, int [M].
        fingerprint: packed bits of all molecules, uint8 [rows, F / 8].

    Returns:
        ``molecules`` and, of them, ``in_train``; median similarity of all and of those not in train; share at
        :data:`NEAR` or above; and a histogram of ten equal bins. Empty where a part has no molecule.
    """
    if not len(test) or not len(train):
        return {}
    nearest = nearest_tanimoto(fingerprint[test], fingerprint[train])
    known = np.isin(test, train)
    counts, edges = np.histogram(nearest, bins=_BINS, range=(0.0, 1.0))
    return {
        "molecules": len(test),
        "in_train": int(known.sum()),
        "median": float(np.median(nearest)),
        "median_not_in_train": float(np.median(nearest[~known])) if not known.all() else None,
        f"share_at_least_{NEAR}": float((nearest >= np.float32(NEAR)).mean()),
        "histogram": {"low": float(edges[0]), "high": float(edges[-1]), "counts": counts.tolist()},
    }


def _unpacked(packed: np.ndarray) -> np.ndarray:
    """Bits as float32 [rows, F], so that bits in common are one matrix product (exact up to 2^24)."""
    return np.unpackbits(packed, axis=1).astype(np.float32)


def _tanimoto(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Tanimoto coefficients [T, M]; two molecules without any bit have 0."""
    shared = one @ other.T
    either = one.sum(axis=1)[:, None] + other.sum(axis=1) - shared
    return shared / np.maximum(either, 1)
