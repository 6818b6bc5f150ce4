"""The beacon of a round, recomputed by anybody from public values."""

from eth_utils.crypto import keccak

from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, Round, TaskId
from zkpot_aggregator.ledger.base import Identity, LedgerConflict
from zkpot_aggregator.ledger.calls import Address
from zkpot_aggregator.ledger.views import RoundView

_WORD_BYTES = 32


class BeaconReplaced(LedgerConflict):
    """A round's beacon is not, or will not be, the one that its chain's headers make."""


def beacon(  # the six words, in their order
    chain_id: int, contract: Address, task: TaskId, number: Round, root: bytes, block_hash: bytes
) -> Beacon:
    """Keccak-256 of six 32-byte big-endian words, 192 bytes: the arguments in this order.

    Numbers and the contract's address are padded with zeros on the left.
    """
    words = (
        chain_id.to_bytes(_WORD_BYTES, "big"),
        contract.rjust(_WORD_BYTES, b"\x00"),
        task,
        number.to_bytes(_WORD_BYTES, "big"),
        root,
        block_hash,
    )
    if any(len(word) != _WORD_BYTES for word in words):
        raise ValueError("a word of the beacon is not 32 bytes")
    return Beacon(keccak(b"".join(words)))


def check_beacon(identity: Identity, view: RoundView, header_hash: bytes) -> Beacon:
    """Returns a drawn round's beacon if it follows from the chain.

    `header_hash` is the hash of the block at the draw height, from the chain itself. Raises
    `Rejected` (BEACON_MISMATCH).
    """
    if view.block_hash != header_hash:
        raise Rejected(
            Reason.BEACON_MISMATCH,
            f"round {view.round}: block {view.draw_height} is {header_hash.hex()},"
            f" the draw says {view.block_hash.hex()}",
        )
    expected = beacon(
        identity.chain_id, identity.contract, view.task, view.round, view.root, view.block_hash
    )
    if view.beacon != expected:
        raise Rejected(
            Reason.BEACON_MISMATCH,
            f"round {view.round}: expected {expected.hex()}, got {view.beacon.hex()}",
        )
    return expected
