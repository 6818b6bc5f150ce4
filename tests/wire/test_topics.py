"""Topics are built and read in one place, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, TaskId, device_text
from zkpot.link.base import matches
from zkpot.wire import topics
from zkpot.wire.topics import DeviceTopic, Kind

DEVICE = DeviceId(bytes(range(20)))
TEXT = device_text(DEVICE)
TASK = TaskId(bytes(range(32)))


def test_topics_are_as_documented() -> None:
    assert topics.status(DEVICE) == f"zkpot/1/device/{TEXT}/status"
    assert topics.capabilities(DEVICE) == f"zkpot/1/device/{TEXT}/capabilities"
    assert topics.up(DEVICE, Kind.COMMITMENT) == f"zkpot/1/device/{TEXT}/up/commitment"
    assert topics.down(DEVICE, Kind.RECEIPT) == f"zkpot/1/device/{TEXT}/down/receipt"
    assert topics.task_round(TASK) == f"zkpot/1/task/{TASK.hex()}/round"


def test_what_is_built_is_read() -> None:
    assert topics.parse_device_topic(topics.status(DEVICE)) == DeviceTopic(DEVICE, "status")
    for kind in Kind:
        assert topics.parse_device_topic(topics.up(DEVICE, kind)).channel == f"up/{kind}"


@pytest.mark.parametrize(
    "topic",
    [
        "",
        TEXT,
        f"{TEXT}/up/want",
        f"zkpot/1/device/{TEXT}",
        f"zkpot/1/device/{TEXT}/",
        f"zkpot/2/device/{TEXT}/up/want",
        f"/zkpot/1/device/{TEXT}/up/want",
        f"x/zkpot/1/device/{TEXT}/up/want",
        f"zkpot/1/device/{TEXT.upper()}/up/want",
        f"zkpot/1/device/{TEXT[:-1]}/up/want",
        f"zkpot/1/device/{TEXT}a/up/want",
        "zkpot/1/device//up/want",
        "zkpot/1/device/+/up/want",
        f"zkpot/1/device/{'ß' * 16}/up/want",
        "zkpot/1/device/" + "x" * 100_000 + "/up/want",
        topics.task_round(TASK),
    ],
)
def test_other_topics_are_rejected(topic: str) -> None:
    with pytest.raises(Rejected) as caught:
        topics.parse_device_topic(topic)
    assert caught.value.reason is Reason.WRONG_TOPIC
    assert len(caught.value.detail) <= 120


@given(topic=st.text(max_size=120))
def test_random_topics_are_rejected(topic: str) -> None:
    with pytest.raises(Rejected):
        topics.parse_device_topic(topic)


def test_each_topic_falls_under_exactly_one_filter_of_its_reader() -> None:
    upwards = [topics.up(DEVICE, kind) for kind in Kind]
    upwards += [topics.status(DEVICE), topics.capabilities(DEVICE)]
    for topic in upwards:
        assert sum(matches(topic, each) for each in topics.aggregator_subscriptions()) == 1
    downwards = [topics.down(DEVICE, kind) for kind in Kind] + [topics.task_round(TASK)]
    for topic in downwards:
        assert sum(matches(topic, each) for each in topics.device_subscriptions(DEVICE, TASK)) == 1


def test_a_device_hears_nobody_else() -> None:
    other = DeviceId(bytes(20))
    for topic in (*(topics.down(other, kind) for kind in Kind), topics.status(other)):
        assert not any(matches(topic, each) for each in topics.device_subscriptions(DEVICE, TASK))
