"""What the device's owner allows; set on the device, never from afar."""

from dataclasses import dataclass

MAX_ROUNDS_ACCOUNTED = 1_000_000


@dataclass(frozen=True)
class PrivacySettings:
    """Clipping, noise and budget of the Gaussian mechanism.

    `clip` is the L2 norm an update is cut to, in the float units of the model spec. The noise
    of each parameter has the standard deviation `noise_multiplier` times 2 * `clip`: twice,
    because exchanging the whole data set can turn an update into its opposite. All rounds
    together stay (`epsilon`, `delta`)-differentially private in that sense.
    """

    clip: float
    noise_multiplier: float
    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, expected {low} to {high}"
            for name, low, high in (
                ("clip", 1e-9, 1e9),
                ("noise_multiplier", 1e-3, 1e6),
                ("epsilon", 1e-3, 1e3),
                ("delta", 1e-12, 1e-2),
            )
            if not low <= getattr(self, name) <= high
        ]
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def deviation(self) -> float:
        """The noise's standard deviation, in float units."""
        return self.noise_multiplier * 2 * self.clip
