"""Taking the masks off a group's sum, with the shares its members released.

Of every survivor the seed is reconstructed, of every dealer that dropped out its mask key:
never both of one member. What comes out is checked against what its dealer announced, so a
false dealing is found and named. The sum itself is checked in `sums`: before that it must
not be used.
"""

from collections.abc import Mapping

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, device_text
from zkpot.secure.exchange import MaskedVector, ShareKind
from zkpot.secure.keys import pair_seed, public_half
from zkpot.secure.mask import Expand, Lengths, Total, expand
from zkpot.secure.session import Session, Step
from zkpot.secure.shares import combine, point_of, seed_digest
from zkpot.secure.sums import GroupSum


class DealerFailed(Rejected):
    """The shares that `device` dealt, as it announced them, are not of what it announced."""

    def __init__(self, device: DeviceId, detail: str) -> None:
        super().__init__(Reason.DEALING_FALSE, f"{device_text(device)}: {detail}")
        self.device = device


def unmask(
    session: Session,
    lengths: Lengths,
    vectors: Mapping[DeviceId, MaskedVector],
    expander: Expand = expand,
) -> GroupSum:
    """The sum of the survivors' weighted openings.

    `vectors` are those that the survivors' masked inputs name. Raises `DealerFailed` if the
    secret of a dealer is not what it announced, and `Rejected` if one cannot be had.
    """
    if session.step is not Step.DONE:
        raise Rejected(Reason.OUT_OF_PHASE, f"still waiting for {session.step.name.lower()}")
    group, survivors = session.group, session.survivors
    total = Total(lengths)
    for device in survivors:
        total.add_words(vectors[device].theta, vectors[device].blinding)
        seed = _secret(session, device, ShareKind.SEED)
        announced = next(d.dealing.seed for d in session.dealings if d.device == device)
        if seed_digest(group, device, seed) != announced:
            raise DealerFailed(device, "dealt shares of another seed")
        total.subtract(expander(seed, lengths))
    device_to_keys = {item.device: item for item in session.advertisements}
    for dropped in sorted(set(session.dealers) - set(survivors)):
        secret = _secret(session, dropped, ShareKind.MASK_KEY)
        if public_half(secret) != device_to_keys[dropped].mask_key:
            raise DealerFailed(dropped, "dealt shares of another mask key")
        for device in survivors:
            seed = pair_seed(group, secret, dropped, device_to_keys[device])
            mask = expander(seed, lengths)
            if device < dropped:
                total.subtract(mask)
            else:
                total.add(mask)
    return GroupSum(group.index, survivors, total.centered, total.blinding)


def _secret(session: Session, dealer: DeviceId, kind: ShareKind) -> bytes:
    group = session.group
    point_to_share = {
        point_of(group, released.device): item.share
        for released in session.releases
        for item in released.release.shares
        if item.dealer == dealer and item.kind is kind
    }
    if len(point_to_share) < group.threshold:
        raise Rejected(
            Reason.SHARE_INVALID,
            f"{len(point_to_share)} good shares of {device_text(dealer)}, "
            f"{group.threshold} are needed",
        )
    first = sorted(point_to_share)[: group.threshold]
    return combine({point: point_to_share[point] for point in first})
