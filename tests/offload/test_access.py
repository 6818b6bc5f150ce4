"""Who may write and read what between devices and provers, on either broker."""

import pytest

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, TaskId, device_text
from zkpot.link.base import matches
from zkpot.wire import topics
from zkpot.wire.topics import Kind
from zkpot_aggregator.embedded.access import Account, readable, writable
from zkpot_aggregator.mosquitto import BrokerPlan, access_list

ANNA, BERT, PROVER, RIVAL = (DeviceId(bytes([n]) * 20) for n in range(4))
DEVICE_ACCOUNT = Account(ANNA, "")
PROVER_ACCOUNT = Account(PROVER, "", is_prover=True)

OFFER = topics.to_prover(ANNA, PROVER, Kind.JOB)
ANSWER = topics.to_device(PROVER, ANNA, Kind.JOB)


def allowed(topic: str, filters: list[str]) -> bool:
    return any(matches(topic, each) for each in filters)


def test_a_device_writes_and_reads_its_own_only() -> None:
    may_write, may_read = writable(DEVICE_ACCOUNT), readable(DEVICE_ACCOUNT)
    assert allowed(OFFER, may_write)
    assert not allowed(topics.to_prover(BERT, PROVER, Kind.JOB), may_write)
    assert not allowed(ANSWER, may_write)
    assert not allowed(topics.prover_status(PROVER), may_write)
    assert allowed(ANSWER, may_read)
    assert allowed(topics.prover_status(PROVER), may_read)
    assert not allowed(topics.to_device(PROVER, BERT, Kind.JOB), may_read)
    assert not allowed(OFFER.replace(device_text(ANNA), device_text(BERT)), may_read)


def test_a_prover_writes_below_its_name_and_reads_what_is_for_it() -> None:
    may_write, may_read = writable(PROVER_ACCOUNT), readable(PROVER_ACCOUNT)
    assert allowed(ANSWER, may_write)
    assert allowed(topics.prover_status(PROVER), may_write)
    assert not allowed(topics.to_device(RIVAL, ANNA, Kind.JOB), may_write)
    assert not allowed(topics.up(ANNA, Kind.SUBMISSION), may_write)
    assert allowed(OFFER, may_read)
    for foreign in (
        topics.to_prover(ANNA, RIVAL, Kind.JOB),
        topics.up(ANNA, Kind.OPENING),
        topics.status(ANNA),
        topics.task_round(TaskId(bytes(32))),
    ):
        assert not allowed(foreign, may_read)


def test_nobody_subscribes_to_more_than_the_list_allows() -> None:
    for filters, account in (
        (topics.offload_subscriptions(ANNA, [PROVER, RIVAL]), DEVICE_ACCOUNT),
        (topics.prover_subscriptions(PROVER), PROVER_ACCOUNT),
    ):
        for each in filters:
            assert allowed(each.replace("+", "x"), readable(account)), each


def test_a_message_falls_under_one_filter_of_its_reader() -> None:
    listens = topics.offload_subscriptions(ANNA, [PROVER, RIVAL])
    for topic in (ANSWER, topics.prover_status(PROVER)):
        assert sum(matches(topic, each) for each in listens) == 1
    assert sum(matches(OFFER, each) for each in topics.prover_subscriptions(PROVER)) == 1
    assert not any(matches(topics.prover_status(BERT), each) for each in listens)


def test_topics_are_read_as_they_are_built() -> None:
    found = topics.parse_prover_topic(ANSWER)
    assert (found.prover, found.channel) == (PROVER, f"to/{device_text(ANNA)}/job")
    assert topics.parse_device_topic(OFFER).device == ANNA
    assert topics.of_prover(ANSWER)
    assert not topics.of_prover(OFFER)
    with pytest.raises(Rejected) as caught:
        topics.parse_prover_topic(OFFER)
    assert caught.value.reason is Reason.WRONG_TOPIC


def test_mosquitto_knows_provers_too() -> None:
    plan = BrokerPlan(RIVAL, [ANNA], [PROVER])
    name = device_text(PROVER)
    assert f"user {name}\ntopic write zkpot/1/prover/{name}/#\n" in access_list(plan)
