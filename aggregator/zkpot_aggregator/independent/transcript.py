"""The Fiat-Shamir transcript of section 7: merlin v1.0 (merlin.cool) over STROBE-128."""

from zkpot_aggregator.independent.multilinear import ORDER
from zkpot_aggregator.independent.strobe import Strobe

_CHALLENGE_BYTES = 64


class Transcript:
    """A merlin transcript, with the integers and scalars of this proof system."""

    def __init__(self, label: bytes) -> None:
        self._strobe = Strobe(b"Merlin v1.0")
        self.append(b"dom-sep", label)

    def append(self, label: bytes, message: bytes) -> None:
        """Binds a message; its length, below 2^32, is bound as well."""
        self._strobe.meta_ad(label)
        self._strobe.meta_ad(len(message).to_bytes(4, "little"), more=True)
        self._strobe.ad(message)

    def append_integer(self, label: bytes, value: int) -> None:
        """Binds an integer below 2^64."""
        self.append(label, value.to_bytes(8, "little"))

    def challenge_bytes(self, label: bytes, size: int) -> bytes:
        """Bytes that depend on everything bound so far."""
        self._strobe.meta_ad(label)
        self._strobe.meta_ad(size.to_bytes(4, "little"), more=True)
        return self._strobe.prf(size)

    def challenge(self) -> int:
        """A challenge scalar."""
        wide = self.challenge_bytes(b"challenge", _CHALLENGE_BYTES)
        return int.from_bytes(wide, "little") % ORDER

    def challenge_point(self, length: int) -> list[int]:
        """Challenges in order."""
        return [self.challenge() for _ in range(length)]
