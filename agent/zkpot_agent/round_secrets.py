"""What of a round must stay secret, in the journal until the round is over."""

from zkpot.errors import Reason, Rejected
from zkpot.ids import Round
from zkpot.journal import Journal
from zkpot.model import Shape
from zkpot.opening import decode_opening
from zkpot.proof.system import ModelOpening
from zkpot.secure.states import MemberState, decode_state

_OPENING = "secret/opening/"
_MEMBER = "secret/member/"


def opening_key(round_number: int) -> str:
    """Where the opening of our commitment lies."""
    return f"{_OPENING}{round_number:08d}"


def member_key(round_number: int) -> str:
    """Where our keys and shares as a member of a group lie."""
    return f"{_MEMBER}{round_number:08d}"


def kept_opening(journal: Journal, shape: Shape, round_number: Round) -> ModelOpening:
    """The opening of this round's commitment; raises `Rejected` if it is gone."""
    data = journal.get(opening_key(round_number))
    if data is None:
        raise Rejected(Reason.OPENING_MISSING, "the opening of this round is gone")
    return decode_opening(shape, data)


def kept_member(journal: Journal, round_number: Round) -> MemberState | None:
    """What we remember as a member of this round's group, if we have a place in one."""
    data = journal.get(member_key(round_number))
    return None if data is None else decode_state(data)


def forgotten(journal: Journal, round_number: Round) -> dict[str, bytes | None]:
    """The journal puts that erase the secrets of this round and of those before it."""
    return {
        key: None
        for prefix, last in (
            (_OPENING, opening_key(round_number)),
            (_MEMBER, member_key(round_number)),
        )
        for key, _ in journal.items(prefix)
        if key <= last
    }
