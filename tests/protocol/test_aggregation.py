"""Names of aggregations, and which tasks may have them."""

from dataclasses import replace
from typing import Any

import pytest
from tests.protocol.rounds import make_round

from zkpot.aggregation import Aggregation, GroupTerms, parse_aggregation
from zkpot.errors import Reason, Rejected
from zkpot.task import Validator

VALIDATOR = Validator(b"a" * 20, b"k" * 32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("secure", Aggregation(None)),
        ("plain:fedavg", Aggregation("fedavg")),
        ("plain:median", Aggregation("median")),
        ("plain:trimmed-mean:20", Aggregation("trimmed-mean", (20,))),
        ("plain:multi-krum:2:5", Aggregation("multi-krum", (2, 5))),
    ],
)
def test_names_are_read(name: str, expected: Aggregation) -> None:
    assert parse_aggregation(name) == expected


def test_only_sums_can_be_checked_by_anyone() -> None:
    names = ("secure", "plain:fedavg", "plain:median")
    assert [parse_aggregation(name).is_sum for name in names] == [True, True, False]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "plain",
        "plain:",
        "secure:fedavg",
        "plain:mode",
        "plain:fedavg:1",
        "plain:krum",
        "plain:krum:",
        "plain:krum:x",
        "plain:krum:01",
        "plain:krum:-1",
        "plain:krum:1000000001",
        "plain:krum:1:2",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_aggregation(name)
    assert caught.value.reason is Reason.TASK_INVALID


def test_a_group_cannot_be_smaller_than_its_minimum() -> None:
    with pytest.raises(Rejected, match="groups of 6 to 5"):
        GroupTerms(size=5, minimum=6)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aggregation": "secure", "proof_system": "ezkl/1"}, "do not bound"),
        ({"aggregation": "secure", "groups": GroupTerms(5, 3)}, "groups of 3"),
        ({"quorum": 1}, "a quorum of 1 of 0"),
        ({"validators": (VALIDATOR,)}, "a quorum of 0 of 1"),
        ({"validators": (VALIDATOR, VALIDATOR), "quorum": 1}, "not distinct"),
        (
            {"validators": (VALIDATOR, replace(VALIDATOR, address=b"b" * 20)), "quorum": 1},
            "not distinct",
        ),
    ],
)
def test_tasks_that_could_not_keep_their_word_are_refused(
    changes: dict[str, Any], why: str
) -> None:
    task = make_round().task
    with pytest.raises(Rejected, match=why) as caught:
        replace(task, **changes)
    assert caught.value.reason is Reason.TASK_INVALID
