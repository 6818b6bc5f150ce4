"""The part of STROBE-128 that merlin uses (STROBE v1.0.2, strobe.sourceforge.io/specs).

Only the operations meta-AD, AD and PRF, without transport and without keys.
"""

from zkpot_aggregator.independent.keccak import STATE_BYTES, permute

_RATE = 166
_APPLICATION, _CIPHER, _META, _INBOUND = 2, 4, 16, 1
_KEY = 32


class Strobe:
    """A STROBE-128 object; `more` continues the operation before it."""

    def __init__(self, protocol: bytes) -> None:
        header = bytes((1, _RATE + 2, 1, 0, 1, 12 * 8)) + b"STROBEv1.0.2"
        self._state = permute(header.ljust(STATE_BYTES, b"\0"))
        self._position = 0
        self._begin = 0
        self.meta_ad(protocol)

    def meta_ad(self, data: bytes, *, more: bool = False) -> None:
        """Absorbs a description of the data that follows."""
        self._operate(_META | _APPLICATION, more=more)
        self._absorb(data)

    def ad(self, data: bytes) -> None:
        """Absorbs data."""
        self._operate(_APPLICATION)
        self._absorb(data)

    def prf(self, size: int) -> bytes:
        """Squeezes `size` bytes that depend on everything before."""
        self._operate(_INBOUND | _APPLICATION | _CIPHER)
        output = bytearray()
        while len(output) < size:
            end = min(_RATE, self._position + size - len(output))
            output += self._state[self._position : end]
            self._state[self._position : end] = bytes(end - self._position)
            self._advance(end)
        return bytes(output)

    def _operate(self, flags: int, *, more: bool = False) -> None:
        if more:
            return
        previous, self._begin = self._begin, self._position + 1
        self._absorb(bytes((previous, flags)))
        if flags & (_CIPHER | _KEY) and self._position:
            self._run()

    def _absorb(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            end = min(_RATE, self._position + len(view))
            size = end - self._position
            mixed = int.from_bytes(self._state[self._position : end], "little") ^ int.from_bytes(
                view[:size], "little"
            )
            self._state[self._position : end] = mixed.to_bytes(size, "little")
            view = view[size:]
            self._advance(end)

    def _advance(self, position: int) -> None:
        self._position = position
        if position == _RATE:
            self._run()

    def _run(self) -> None:
        self._state[self._position] ^= self._begin
        self._state[self._position + 1] ^= 0x04
        self._state[_RATE + 1] ^= 0x80
        self._state = permute(self._state)
        self._position = self._begin = 0
