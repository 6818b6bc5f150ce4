"""What `run` prints while it works: JSON lines for programs, plain lines for people."""

import json
from typing import Any, TypedDict

from zkpot.ids import device_text
from zkpot.proof.system import Progress
from zkpot_aggregator.round import states as at
from zkpot_aggregator.service import OnReady, OnState, Ready


class Callbacks(TypedDict):
    """The hooks of `AggregatorService`."""

    on_ready: OnReady
    on_state: OnState
    progress: Progress


def event_printer(*, json_output: bool) -> Callbacks:
    """Hooks that print every event to standard output."""

    def say(event: str, text: str, **facts: Any) -> None:
        print(json.dumps({"event": event, **facts}) if json_output else text, flush=True)  # noqa: T201

    def on_ready(ready: Ready) -> None:
        task, host, port = ready.task.id.hex(), ready.broker.host, ready.broker.port
        say(
            "ready",
            f"task {task}\nbroker {host}:{port}",
            task=task,
            host=host,
            port=port,
            operator_key=ready.operator_key.hex(),
        )

    def on_state(state: at.State) -> None:
        name, number = type(state).__name__.lower(), state.start.round
        facts: dict[str, Any] = {"round": number, "state": name}
        if isinstance(state, at.Recording):
            facts |= {"leader": device_text(state.record.leader), "count": state.record.count}
        if isinstance(state, at.Failing):
            facts["failure"] = state.detail
        say("state", f"round {number}: {name}", **facts)

    def progress(what: str, fraction: float) -> None:
        say("progress", f"{what} {fraction:.0%}", what=what, fraction=fraction)

    return Callbacks(on_ready=on_ready, on_state=on_state, progress=progress)
