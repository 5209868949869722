"""Seeds as pure functions of what is drawn, so that a resumed run draws what an uninterrupted one would."""

import hashlib


def seed_for(*parts: int | str) -> int:
    """Hash a purpose and a position, such as ``("dropout", seed, rank, batch)``, into a seed in [0, 2**63).

    Unlike sums of seed and position, no two of them collide: runs of neighbouring seeds share no draws.
    """
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8]) >> 1
