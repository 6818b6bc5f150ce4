"""MQTT topics, built and parsed in this module only.

A device writes only under its own id (`status`, `capabilities`, `up/…`) and reads only its
own `down` and `cmd` and the tasks' topics; brokers hold this with an access list.
"""

from dataclasses import dataclass
from enum import StrEnum, unique

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, TaskId, device_from_text, device_text

PREFIX = "zkpot/1"


@unique
class Kind(StrEnum):
    """The last level of an `up` or `down` topic."""

    COMMITMENT = "commitment"
    SUBMISSION = "submission"
    OPENING = "opening"
    RECORD = "record"
    RECEIPT = "receipt"
    WANT = "want"
    BLOCK = "block"


@dataclass(frozen=True)
class DeviceTopic:
    """A parsed topic below a device: `channel` is what follows the id, like `up/want`."""

    device: DeviceId
    channel: str


def status(device: DeviceId) -> str:
    """Retained birth and will of a device."""
    return f"{PREFIX}/device/{device_text(device)}/status"


def capabilities(device: DeviceId) -> str:
    """Retained capabilities of a device."""
    return f"{PREFIX}/device/{device_text(device)}/capabilities"


def up(device: DeviceId, kind: Kind) -> str:
    """From a device to the aggregator."""
    return f"{PREFIX}/device/{device_text(device)}/up/{kind}"


def down(device: DeviceId, kind: Kind) -> str:
    """From the aggregator to one device."""
    return f"{PREFIX}/device/{device_text(device)}/down/{kind}"


def task_round(task: TaskId) -> str:
    """Retained announcement of a task's current round."""
    return f"{PREFIX}/task/{task.hex()}/round"


def device_subscriptions(device: DeviceId, task: TaskId) -> tuple[str, ...]:
    """What a device listens to."""
    return (f"{PREFIX}/device/{device_text(device)}/down/+", task_round(task))


def aggregator_subscriptions() -> tuple[str, ...]:
    """What an aggregator listens to; none of the filters overlap."""
    base = f"{PREFIX}/device/+"
    return (f"{base}/up/+", f"{base}/status", f"{base}/capabilities")


def parse_device_topic(topic: str) -> DeviceTopic:
    """Reads a topic below a device; raises `Rejected` for any other."""
    above, prefix, below = topic.partition(f"{PREFIX}/device/")
    head, _, channel = below.partition("/")
    if above or not prefix or not channel:
        raise Rejected(Reason.WRONG_TOPIC, topic[:120])
    try:
        return DeviceTopic(device_from_text(head), channel)
    except ValueError as error:
        raise Rejected(Reason.WRONG_TOPIC, topic[:120]) from error
