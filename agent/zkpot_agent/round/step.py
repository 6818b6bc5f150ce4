"""What a transition of the round machine is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from zkpot_agent.round.effects import Effect
from zkpot_agent.round.states import State


@dataclass(frozen=True)
class Step:
    """Where the device goes, and what must be done once that is on disk."""

    state: State
    effects: tuple[Effect, ...] = ()


Handler: TypeAlias = Callable[[Any, Any], Step]
