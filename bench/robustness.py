"""What the gate and the rules of plain aggregation do against attacks on the model.

Whole tasks on scikit-learn's digits with the products' own trainers, gate and rules, in one
process and without proofs: counts are what devices would have proven. Data is divided as in
the demonstration. Shown is the accuracy of the last global model on samples nobody trained
on, the mean and the lowest of all seeds, and how many rounds failed. Without the gate, its
margin is the whole batch. Rules are told how many devices attack.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.machine import machine
from bench.table import Column, print_table
from zkpot.aggregate import GlobalModel
from zkpot.aggregation import parse_aggregation
from zkpot.batch import Batch
from zkpot.datasets import DIGITS_SPEC, Split, split_digits
from zkpot.initial import initial_model
from zkpot.model import Int64Array, count_correct
from zkpot.proof.system import no_progress
from zkpot.task import Gate
from zkpot_agent.hostile_trainers import NAME_TO_ATTACK, Attacker
from zkpot_agent.train.mlp import MlpTrainer
from zkpot_agent.train.trainer import Trainer, TrainSettings
from zkpot_aggregator.rules.registry import find_rule

DEVICES = 10
HOSTILE = 3
ROUNDS = 5
BATCH = 32
ALPHA = 0.5
"""Dirichlet, as in the demonstration: devices have few classes each."""

RULES = ("fedavg", "median", "trimmed-mean:30", "krum:3", "multi-krum:3:5", "norm-clipping:15000")
NO_ATTACK = "none"
ATTACKS = (NO_ATTACK, *NAME_TO_ATTACK)
GATES = {"off": Gate(0, BATCH), "on": Gate(0, BATCH // 3 + 1)}

COLUMNS = (
    Column("rule", "rule"),
    Column("attack", "attack"),
    Column("gate", "gate"),
    Column("accuracy", "accuracy"),
    Column("lowest", "lowest"),
    Column("failed rounds", "failed_rounds"),
)


@dataclass(frozen=True)
class Case:
    """A rule under an attack, behind a gate."""

    rule: str
    attack: str
    gate: str


@dataclass(frozen=True)
class Ended:
    """Accuracy of a task's last model, and how many of its rounds failed."""

    accuracy: float
    failed: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommand's options."""
    parser.add_argument("--rules", default=",".join(RULES), help="names as after plain:")
    parser.add_argument("--attacks", default=",".join(ATTACKS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")


def run(options: argparse.Namespace) -> int:
    """Exit status 0."""
    rules, attacks = options.rules.split(","), options.attacks.split(",")
    rows = []
    for case in (Case(r, a, g) for r in rules for a in attacks for g in GATES):
        ended = [task(case, seed, options.rounds) for seed in range(options.seeds)]
        rows.append(_row(case, ended))
    if options.json:
        json.dump({"machine": machine(), "rows": rows}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        print_table(COLUMNS, rows)
    return 0


def task(case: Case, seed: int, rounds: int) -> Ended:
    """One whole task; the last devices attack."""
    split = split_digits(DEVICES, ALPHA, seed)
    trainers: list[Trainer] = [MlpTrainer()] * DEVICES
    if case.attack != NO_ATTACK:
        trainers[-HOSTILE:] = [Attacker(NAME_TO_ATTACK[case.attack])] * HOSTILE
    model, failed = initial_model(DIGITS_SPEC, seed), 0
    for number, batch in enumerate(_batches(split.pool, seed, rounds), 1):
        thetas = list(_trained(trainers, split, model, seed, number))
        after = next_model(case, model, thetas, batch)
        failed += after is None
        model = after or model
    return Ended(_count(model.theta, split.holdout) / split.holdout.size, failed)


def next_model(
    case: Case, model: GlobalModel, thetas: Sequence[Int64Array], batch: Batch
) -> GlobalModel | None:
    """The next global model from the models that pass the gate; None if the round fails."""
    rule = find_rule(parse_aggregation(f"plain:{case.rule}"), model.theta)
    gate, own = GATES[case.gate], _count(model.theta, batch)
    accepted = [theta for theta in thetas if _count(theta, batch) >= gate.threshold(own)]
    if len(accepted) < rule.at_least:
        return None
    after = rule(np.stack(accepted), [1] * len(accepted))
    return after if _count(after.theta, batch) >= own - gate.margin else None


def _trained(
    trainers: Sequence[Trainer], split: Split, model: GlobalModel, seed: int, number: int
) -> Iterator[Int64Array]:
    settings = TrainSettings(epochs=15)
    for device, (trainer, data) in enumerate(zip(trainers, split.devices, strict=True)):
        own_seed = 1000 * (seed * DEVICES + device) + number
        yield trainer.train(DIGITS_SPEC, model, data, settings, seed=own_seed, progress=no_progress)


def _batches(pool: Batch, seed: int, rounds: int) -> Iterator[Batch]:
    """Disjoint ones, as the beacon draws them."""
    order = np.random.default_rng(seed).permutation(pool.size)
    for number in range(rounds):
        drawn = order[number * BATCH : (number + 1) * BATCH]
        yield Batch(pool.inputs[drawn], pool.labels[drawn])


def _count(theta: Int64Array, batch: Batch) -> int:
    return count_correct(DIGITS_SPEC.shape, theta, batch.inputs, batch.labels)


def _row(case: Case, ended: Sequence[Ended]) -> dict[str, Any]:
    accuracies = [each.accuracy for each in ended]
    return {
        "rule": case.rule,
        "attack": case.attack,
        "gate": case.gate,
        "accuracy": round(float(np.mean(accuracies)), 3),
        "lowest": round(min(accuracies), 3),
        "failed_rounds": sum(each.failed for each in ended),
        "seeds": len(ended),
    }
