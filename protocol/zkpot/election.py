"""Who leads: the highest proven count; ties go to the lowest hash of beacon and device."""

from collections.abc import Mapping

from zkpot.ids import Beacon, DeviceId, digest


def rank(beacon: Beacon, device_to_count: Mapping[DeviceId, int]) -> tuple[DeviceId, ...]:
    """The accepted devices from the leader down: the order in which they may sign."""
    return tuple(
        sorted(
            device_to_count,
            key=lambda device: (-device_to_count[device], digest("election", beacon, device)),
        )
    )
