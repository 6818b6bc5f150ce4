"""MQTT topics, built and parsed in this module only.

A device writes only under its own id (`status`, `capabilities`, `up/…`, `to/…`) and reads only
its own `down` and `cmd`, the tasks' topics, and of provers their `status` and what they write
to it; a prover likewise. A validator writes only under its own id within the tasks' topics,
and hears what all devices send. Brokers hold this with an access list.
"""

from collections.abc import Iterable
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
    DECLINE = "decline"
    SECURE = "secure"
    JOB = "job"


@dataclass(frozen=True)
class DeviceTopic:
    """A parsed topic below a device: `channel` is what follows the id, like `up/want`."""

    device: DeviceId
    channel: str


@dataclass(frozen=True)
class ProverTopic:
    """A parsed topic below a prover, like `DeviceTopic`."""

    prover: DeviceId
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


def endorsement(task: TaskId, validator: DeviceId, phase: int) -> str:
    """Retained: a validator's latest endorsement of a phase's announcement."""
    return f"{_validator(task, validator)}/endorsement/{phase}"


def fault(task: TaskId, validator: DeviceId) -> str:
    """Retained: a validator's latest fault report."""
    return f"{_validator(task, validator)}/fault"


def endorsements(task: TaskId) -> str:
    """The filter for every validator's endorsements of a task."""
    return f"{PREFIX}/task/{task.hex()}/validator/+/endorsement/+"


def is_up(topic: str) -> bool:
    """Whether a topic that a validator listens to is one of a device to the aggregator."""
    return topic.startswith(f"{PREFIX}/device/") and "/up/" in topic


def is_endorsement(task: TaskId, topic: str) -> bool:
    """Whether `topic` is one of those that `endorsements` filters."""
    return topic.startswith(f"{PREFIX}/task/{task.hex()}/validator/")


def _validator(task: TaskId, validator: DeviceId) -> str:
    return f"{PREFIX}/task/{task.hex()}/validator/{device_text(validator)}"


def device_subscriptions(device: DeviceId, task: TaskId) -> tuple[str, ...]:
    """What a device listens to."""
    return (
        f"{PREFIX}/device/{device_text(device)}/down/+",
        task_round(task),
        endorsements(task),
    )


def aggregator_subscriptions() -> tuple[str, ...]:
    """What an aggregator listens to; none of the filters overlap."""
    base = f"{PREFIX}/device/+"
    return (f"{base}/up/+", f"{base}/status", f"{base}/capabilities")


def validator_subscriptions(validator: DeviceId, task: TaskId) -> tuple[str, ...]:
    """What a validator listens to: the round, and all that devices send for it."""
    return (
        f"{PREFIX}/device/+/up/+",
        f"{PREFIX}/device/{device_text(validator)}/down/+",
        task_round(task),
    )


def prover_status(prover: DeviceId) -> str:
    """Retained birth and will of a prover."""
    return f"{PREFIX}/prover/{device_text(prover)}/status"


def to_prover(device: DeviceId, prover: DeviceId, kind: Kind) -> str:
    """From a device to one prover."""
    return f"{PREFIX}/device/{device_text(device)}/to/{device_text(prover)}/{kind}"


def to_device(prover: DeviceId, device: DeviceId, kind: Kind) -> str:
    """From a prover to one device."""
    return f"{PREFIX}/prover/{device_text(prover)}/to/{device_text(device)}/{kind}"


def offload_subscriptions(device: DeviceId, provers: Iterable[DeviceId]) -> tuple[str, ...]:
    """What a device listens to besides, if it may hand its proofs to `provers`."""
    own = device_text(device)
    return tuple(
        topic
        for prover in provers
        for topic in (
            prover_status(prover),
            f"{PREFIX}/prover/{device_text(prover)}/to/{own}/+",
        )
    )


def of_prover(topic: str) -> bool:
    """Whether a topic that a device listens to is a prover's."""
    return topic.startswith(f"{PREFIX}/prover/")


def prover_subscriptions(prover: DeviceId) -> tuple[str, ...]:
    """What a prover listens to."""
    return (f"{PREFIX}/device/+/to/{device_text(prover)}/+",)


def parse_device_topic(topic: str) -> DeviceTopic:
    """Reads a topic below a device; raises `Rejected` for any other."""
    return DeviceTopic(*_parse("device", topic))


def parse_prover_topic(topic: str) -> ProverTopic:
    """Reads a topic below a prover; raises `Rejected` for any other."""
    return ProverTopic(*_parse("prover", topic))


def _parse(role: str, topic: str) -> tuple[DeviceId, str]:
    above, prefix, below = topic.partition(f"{PREFIX}/{role}/")
    head, _, channel = below.partition("/")
    if above or not prefix or not channel:
        raise Rejected(Reason.WRONG_TOPIC, topic[:120])
    try:
        return device_from_text(head), channel
    except ValueError as error:
        raise Rejected(Reason.WRONG_TOPIC, topic[:120]) from error
