"""The drop-in that makes systemd hold the service to its profile."""

from zkpot_agent.profile import Profile

DROP_IN = "50-profile.conf"


def drop_in(profile: Profile) -> str:
    """Memory, processors and priority as cgroup limits, and the devices of the board.

    Above MemoryHigh the kernel slows the service down, at MemoryMax it ends a child (the unit
    says OOMPolicy=continue: the agent reports it and goes on). Nothing is swapped to an SD card.
    """
    limits, systemd = profile.limits, profile.systemd
    lines = [
        " ".join(f"# From the profile {profile.name}: {profile.description}".split()),
        "# `zkpot-agent install` writes this file; settings of your own belong in another one.",
        "[Service]",
        f"MemoryHigh={limits.memory_mb * 15 // 16}M",
        f"MemoryMax={limits.memory_mb}M",
        "MemorySwapMax=0",
        f"CPUQuota={100 * limits.cores}%",
        f"CPUWeight={max(100 - 5 * limits.nice, 5)}",
        "IOWeight=50",
        f"TasksMax={64 + 32 * limits.cores}",
    ]
    if systemd.device_allow:
        lines.append("PrivateDevices=no")
        lines += [f"DeviceAllow={device}" for device in systemd.device_allow]
    if systemd.supplementary_groups:
        lines.append(f"SupplementaryGroups={' '.join(systemd.supplementary_groups)}")
    return "\n".join(lines) + "\n"
