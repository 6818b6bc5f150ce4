"""Masks: what a seed expands to, added to vectors modulo 2^32 and modulo the group order.

The generator is ChaCha20 (RFC 8439, as in libsodium), keyed by a hash of the seed and the
vector's name, so each key makes one stream, ever. Words of theta are 4 bytes of stream. A
blinding scalar takes 64 bytes, reduced modulo the order: its distance from uniform is below
2^-259. Streams are added as limbs of 32 bits and reduced once, row by row, at the end.

The reduction runs in Python's integers, whose timing depends on their values; what it
reveals is a masked scalar or, on the aggregator's side, a public sum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt
from numpy.typing import NDArray

from zkpot.errors import Reason, Rejected
from zkpot.ids import digest
from zkpot.model import Int64Array, Shape
from zkpot.secure.exchange import MaskedVector
from zkpot.wire.codec import Span

RISTRETTO255_ORDER = (1 << 252) + 27742317777372353535851937790883648493

SCALAR_BYTES = 32
_WIDE_BYTES = 64
_LIMBS = _WIDE_BYTES // 4
_TAG_BYTES = 16
_NONCE = bytes(12)


@dataclass(frozen=True)
class Lengths:
    """How long the vectors are: parameters of theta, and scalars of its blinding."""

    parameters: Annotated[int, Span(1, 1 << 24)]
    scalars: Annotated[int, Span(1, 1 << 12)]

    @property
    def vector_bytes(self) -> int:
        """Of a vector's words and scalars."""
        return 4 * self.parameters + SCALAR_BYTES * self.scalars


def lengths_of(shape: Shape, commitment: bytes) -> Lengths:
    """The lengths of what `commitment` hides: a row of it, 32 bytes, has a scalar of blinding."""
    return Lengths(shape.parameters, len(commitment) // SCALAR_BYTES)


def check_lengths(lengths: Lengths, vector: MaskedVector) -> None:
    """Raises `Rejected` unless the masked vector is as long as the model."""
    found = (len(vector.theta), len(vector.blinding))
    if found != (4 * lengths.parameters, SCALAR_BYTES * lengths.scalars):
        raise Rejected(Reason.MALFORMED, f"{found[0]} and {found[1]} bytes, expected {lengths}")


@dataclass(frozen=True, eq=False, repr=False)
class Mask:
    """uint32 [parameters], and uint32 [scalars, 16]: unreduced scalars, lowest limb first."""

    words: NDArray[np.uint32]
    limbs: NDArray[np.uint32]


Expand: TypeAlias = Callable[[bytes, Lengths], Mask]


def expand(seed: bytes, lengths: Lengths) -> Mask:
    """The mask of a secret seed."""
    words = _stream(digest("secure-mask-theta", seed), 4 * lengths.parameters)
    limbs = _stream(digest("secure-mask-blinding", seed), _WIDE_BYTES * lengths.scalars)
    return Mask(
        np.frombuffer(words, "<u4"), np.frombuffer(limbs, "<u4").reshape(lengths.scalars, _LIMBS)
    )


class Total:
    """A running sum of vectors and masks; its representation shows nothing of them."""

    def __init__(self, lengths: Lengths) -> None:
        self.lengths = lengths
        self._words = np.zeros(lengths.parameters, np.uint32)
        self._limbs = np.zeros((lengths.scalars, _LIMBS), np.int64)

    def add(self, mask: Mask) -> None:
        """Adds a mask."""
        self._words += mask.words
        self._limbs += mask.limbs

    def subtract(self, mask: Mask) -> None:
        """Takes a mask away."""
        self._words -= mask.words
        self._limbs -= mask.limbs

    def add_words(self, theta: bytes, blinding: bytes) -> None:
        """Adds what `theta` and `blinding` made; raises `Rejected` for other lengths."""
        lengths = self.lengths
        if (len(theta), len(blinding)) != (4 * lengths.parameters, SCALAR_BYTES * lengths.scalars):
            raise Rejected(
                Reason.MALFORMED, f"{len(theta)} and {len(blinding)} bytes do not fit {lengths}"
            )
        self._words += np.frombuffer(theta, "<u4")
        self._limbs[:, : SCALAR_BYTES // 4] += np.frombuffer(blinding, "<u4").reshape(
            lengths.scalars, -1
        )

    def add_weighted(self, theta: Int64Array, blinding: bytes, weight: int) -> None:
        """Adds a weighted opening. theta: int64 [parameters]; blinding: its scalars."""
        words = ((theta * weight) & 0xFFFFFFFF).astype("<u4")
        narrow = np.frombuffer(blinding, "<u4")
        if len(blinding) != SCALAR_BYTES * self.lengths.scalars or len(words) != len(self._words):
            raise Rejected(Reason.OPENING_INVALID, f"the opening does not fit {self.lengths}")
        self._words += words
        # A limb times a weight below 2^14 leaves 2^17 summands of room in 63 bits.
        self._limbs[:, : SCALAR_BYTES // 4] += weight * narrow.astype(np.int64).reshape(
            self.lengths.scalars, -1
        )

    @property
    def theta(self) -> bytes:
        """The words, little-endian."""
        return self._words.astype("<u4").tobytes()

    @property
    def centered(self) -> Int64Array:
        """The words as signed numbers in [-2^31, 2^31), int64 [parameters]."""
        return np.asarray(self._words.view(np.int32).astype(np.int64), dtype=np.int64)

    @property
    def blinding(self) -> bytes:
        """The scalars modulo the order of ristretto255, 32 bytes little-endian each."""
        limbs = self._limbs.copy()
        for index in range(_LIMBS - 1):
            limbs[:, index + 1] += limbs[:, index] >> 32
            limbs[:, index] &= 0xFFFFFFFF
        rows = limbs[:, :-1].astype("<u4")
        top = 32 * (_LIMBS - 1)
        return b"".join(
            (
                (int.from_bytes(row.tobytes(), "little") + (int(last) << top)) % RISTRETTO255_ORDER
            ).to_bytes(SCALAR_BYTES, "little")
            for row, last in zip(rows, limbs[:, -1], strict=True)
        )


def _stream(key: bytes, size: int) -> bytes:
    """ChaCha20's stream: what it encrypts zeros to. libsodium offers it with Poly1305 only."""
    return bytes(
        crypto_aead_chacha20poly1305_ietf_encrypt(bytes(size), None, _NONCE, key)[:-_TAG_BYTES]
    )
