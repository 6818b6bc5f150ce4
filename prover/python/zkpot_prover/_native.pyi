class ProofError(ValueError):
    """A proof, commitment, opening or input was refused."""

class ShapeError(ValueError):
    """A shape or batch size was refused."""

class Shape:
    """Dims, shifts (one per hidden layer) and bias bits of a model; raises ShapeError."""

    def __new__(cls, dims: list[int], shifts: list[int], bias_bits: int) -> Shape: ...
    @property
    def dims(self) -> list[int]: ...
    @property
    def shifts(self) -> list[int]: ...
    @property
    def bias_bits(self) -> int: ...
    @property
    def parameters(self) -> int:
        """Number of integers in theta."""
    @property
    def commitment_bytes(self) -> int: ...
    @property
    def blinding_bytes(self) -> int: ...
    @property
    def wellformed_bytes(self) -> int: ...
    def proof_bytes(self, batch: int) -> int:
        """Length of an accuracy proof for that many samples; raises ShapeError."""
    def __eq__(self, other: object, /) -> bool: ...

def random_blinding(shape: Shape) -> bytes:
    """Fresh blindings, one 32-byte scalar per commitment row. Never use them twice."""

def commit(shape: Shape, theta: bytes, blinding: bytes) -> bytes:
    """Commits to theta: int32 little-endian, per layer W [d_in, d_out] row-major, then b [d_out]."""

def prove_wellformed(
    shape: Shape,
    theta: bytes,
    blinding: bytes,
    context: bytes,
    *,
    threads: int | None = None,
    constant_time: bool = True,
) -> bytes:
    """Proves that the commitment is well formed, bound to a 32-byte context."""

def verify_wellformed(
    shape: Shape, commitment: bytes, context: bytes, proof: bytes, *, threads: int | None = None
) -> None:
    """Raises ProofError unless the proof is right."""

def prove(
    shape: Shape,
    theta: bytes,
    blinding: bytes,
    inputs: bytes,
    labels: bytes,
    context: bytes,
    *,
    commitment: bytes | None = None,
    threads: int | None = None,
    constant_time: bool = True,
) -> tuple[int, bytes]:
    """Proves how many samples the model gets right: (count, proof).

    inputs: uint8 [N, d_0]; labels: uint8 [N]; context: 32 bytes. The commitment is recomputed if it
    is not given. constant_time=False is faster and leaks through caches and timing to other code on
    the same machine (docs/proof-system.md, section 16).
    """

def verify(
    shape: Shape,
    commitment: bytes,
    inputs: bytes,
    labels: bytes,
    context: bytes,
    count: int,
    proof: bytes,
    *,
    threads: int | None = None,
) -> None:
    """Raises ProofError unless the proof is right. Accept only with a well-formedness proof."""

def verify_many(
    shape: Shape,
    inputs: bytes,
    labels: bytes,
    items: list[tuple[bytes, bytes, int, bytes]],
    *,
    threads: int | None = None,
) -> list[str | None]:
    """Verifies (commitment, context, count, proof) items together: None or the reason, per item."""

def verify_wellformed_many(
    shape: Shape, items: list[tuple[bytes, bytes, bytes]], *, threads: int | None = None
) -> list[str | None]:
    """Verifies (commitment, context, proof) items together: None or the reason, per item."""

def count(shape: Shape, theta: bytes, inputs: bytes, labels: bytes) -> int:
    """Number of samples that the model gets right."""

def add(shape: Shape, commitments: list[bytes], weights: list[int] | None = None) -> bytes:
    """The commitment to the weighted sum of the parameters."""

def add_blindings(shape: Shape, blindings: list[bytes], weights: list[int] | None = None) -> bytes:
    """The blindings of the weighted sum. Publish at most one opened sum per commitment."""

def check_opening(shape: Shape, commitment: bytes, theta_sum: bytes, blinding_sum: bytes) -> None:
    """Raises ProofError unless the commitment opens to theta_sum (int64 little-endian)."""
