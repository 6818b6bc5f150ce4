"""After the last round: serving on until the devices have the final model."""

import asyncio
import logging
from collections.abc import Set as AbstractSet

from zkpot.cid import Cid
from zkpot.ids import DeviceId
from zkpot.wire.messages import has_model
from zkpot_aggregator.round import states as at

_logger = logging.getLogger(__name__)

FAREWELL_SECONDS = 60.0
"""For a device to fetch the model, convert it, and put it in its place."""

LOOK_SECONDS = 0.1


class Farewell:
    """Notes which devices say that they have the model of a round that has just been closed."""

    def __init__(self) -> None:
        self._model: Cid | None = None
        self._having: set[DeviceId] = set()

    def entered(self, state: at.State) -> None:
        """The aggregator's round is in `state` now."""
        closed = isinstance(state, at.Ended) and state.signed is not None
        self._model = state.model_after if isinstance(state, at.Ended) and closed else None
        self._having.clear()

    def heard(self, device: DeviceId, activity: str) -> None:
        """What a device says that it does."""
        if self._model is not None and activity == has_model(self._model):
            self._having.add(device)

    async def see_off(
        self, devices: AbstractSet[DeviceId], limit_s: float = FAREWELL_SECONDS
    ) -> None:
        """Returns once all `devices`, as they are then, have the model.

        At once if the last round failed or another process closed it, and after `limit_s`.
        Devices come and go for reasons of several kinds: looking again is simpler than events.
        """
        if self._model is None:
            return
        try:
            async with asyncio.timeout(limit_s):
                while not devices <= self._having:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            missing = len(devices - self._having)
            _logger.warning("%d devices have not said that they have the final model", missing)
