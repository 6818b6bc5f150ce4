"""After the last round: serving on until the devices have the final model."""

import asyncio
import logging
from collections.abc import Set as AbstractSet

from zkpot.cid import Cid, split_object
from zkpot.ids import DeviceId
from zkpot_aggregator.content.base import ContentStore, get_object
from zkpot_aggregator.round import states as at

_logger = logging.getLogger(__name__)

FAREWELL_SECONDS = 60.0
"""A device that wants the model asks for it at once, and again if its link was lost."""

LOOK_SECONDS = 0.1


class Farewell:
    """Notes who has asked for the model of a round that has just been closed."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content
        self._blocks: frozenset[Cid] = frozenset()
        self._asked: dict[DeviceId, set[Cid]] = {}

    def entered(self, state: at.State) -> None:
        """The aggregator's round is in `state` now."""
        self._asked.clear()
        self._blocks = frozenset()
        if isinstance(state, at.Ended) and state.signed is not None:
            model = get_object(self._content, state.model_after)
            self._blocks = frozenset(split_object(model)[1])

    def may_serve(self, peer: DeviceId, cid: Cid) -> bool:
        """For the exchange: everything in the content store is public."""
        if cid in self._blocks:
            self._asked.setdefault(peer, set()).add(cid)
        return self._content.has(cid)

    async def see_off(
        self, devices: AbstractSet[DeviceId], limit_s: float = FAREWELL_SECONDS
    ) -> None:
        """Returns once each of `devices`, as they are then, has asked for the whole model.

        At once if the last round failed or another process closed it, and after `limit_s`.
        Devices come and go for reasons of several kinds: looking again is simpler than events.
        """
        try:
            async with asyncio.timeout(limit_s):
                while any(self._missing(device) for device in devices):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            missing = sum(map(self._missing, devices))
            _logger.warning("%d devices have not fetched the final model", missing)

    def _missing(self, device: DeviceId) -> bool:
        return not self._blocks <= self._asked.get(device, set())
