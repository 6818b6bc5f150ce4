"""Cost of secure aggregation: bytes per device and processor seconds per step, with dropouts.

A fleet is split into groups as in a round; one of the largest groups is run from keys to sum,
in one process, over encoded messages. Device columns are medians over its members; the
aggregator's are for all groups of the fleet. Those dropped fall silent after sharing, where
it costs most. With --flower PYTHON, the same steps from the building blocks of Flower's
SecAgg+, in that interpreter and in the same run, for the same group, threshold and length.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bench.cases import shape_of
from bench.machine import machine
from bench.table import Column, print_table
from zkpot.ids import Beacon, DeviceId, Round, TaskId, digest
from zkpot.keys import KeyPair
from zkpot.model import Shape
from zkpot.proof.sumcheck import SumcheckSystem
from zkpot.proof.system import ModelOpening
from zkpot.secure.exchange import (
    FromMember,
    MaskedVector,
    SealedRelease,
    ToMember,
    decode_masked_vector,
    open_release,
)
from zkpot.secure.groups import Group, draw_groups
from zkpot.secure.mask import SCALAR_BYTES, Lengths
from zkpot.secure.member import Own, advertise, answer
from zkpot.secure.session import Session, Step, close, take, take_release, told
from zkpot.secure.states import MemberState
from zkpot.secure.sums import check_group_sum
from zkpot.secure.unmask import unmask
from zkpot.wire.codec import decode, encode

SHAPES = {"2.4k": "digits", "101k": "mnist", "1M": "784-1024-200-10"}
STEPS = ("keys", "shares", "mask", "confirm", "release")
FLOWER = Path(__file__).with_name("aggregation_flower.py")
_LIMIT = 1 << 26

T = TypeVar("T")

COLUMNS = (
    Column("system", "system"),
    Column("devices", "devices"),
    Column("theta", "theta"),
    Column("dropped", "dropped"),
    Column("groups", "groups"),
    *(Column(step, f"{step}_s", "s") for step in STEPS),
    Column("up", "up_bytes", "B"),
    Column("down", "down_bytes", "B"),
    Column("aggregator: collect", "collect_s", "s"),
    Column("unmask", "unmask_s", "s"),
    Column("check", "check_s", "s"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--devices", type=_numbers, default=[5, 50, 200])
    parser.add_argument("--sizes", type=_sizes, default=list(SHAPES), help=",".join(SHAPES))
    parser.add_argument("--dropped", type=_numbers, default=[0, 10, 30], help="percent")
    parser.add_argument("--flower", metavar="PYTHON", help="an interpreter that has flwr")
    parser.add_argument("--json", action="store_true", help="a JSON list and nothing else")


def run(options: argparse.Namespace) -> int:
    """Measures and prints."""
    rows: list[dict[str, Any]] = []
    for number in options.devices:
        for size in options.sizes:
            sys.stderr.write(f"{number} devices, theta {size}\n")
            for row in measured(number, size, options.dropped):
                rows.append(row)
                if options.flower:
                    rows.append(flower(options.flower, row))
    if options.json:
        sys.stdout.write(json.dumps([row | {"machine": machine()} for row in rows], indent=1))
        sys.stdout.write("\n")
    else:
        print_table(COLUMNS, rows)
        sys.stdout.write(machine() + "\n")
    return 0


def measured(number: int, size: str, dropped: list[int]) -> Iterator[dict[str, Any]]:
    """A row for each percentage of members that fall silent after sharing."""
    bench = GroupBench(number, shape_of(SHAPES[size]))
    for percent in dropped:
        silent = len(bench.group.members) * percent // 100
        figures = bench.fork().finish(bench.group.devices[:silent])
        yield {
            "system": "zkpot",
            "devices": number,
            "theta": size,
            "parameters": bench.lengths.parameters,
            "dropped": silent,
            "percent": percent,
            "group": len(bench.group.members),
            "groups": bench.groups,
            "threshold": bench.group.threshold,
            **figures,
        }


class GroupBench:
    """One group; made, it has its masked inputs under way."""

    def __init__(self, number: int, shape: Shape) -> None:
        scheme = SumcheckSystem(shape, 1).commitments
        keys = [KeyPair.generate() for _ in range(number)]
        groups = draw_groups(
            TaskId(digest("bench")),
            Round(1),
            Beacon(digest("bench")),
            [key.id for key in keys],
            {key.id: 1 for key in keys},
        )
        self.group: Group = max(groups, key=lambda each: len(each.members))
        self.groups = len(groups)
        self._all_groups, self._scheme = groups, scheme
        public = {key.id: key.public_key for key in keys}
        generator = np.random.default_rng(number)
        self._operator = KeyPair.generate()
        self._owns: dict[DeviceId, Own] = {}
        for key in keys:
            if key.id in self.group.device_to_weight:
                theta = generator.integers(-128, 128, shape.parameters)
                opening = ModelOpening(theta, scheme.random_blinding())
                self._owns[key.id] = Own(key, public, opening, self._operator.box_key)
        self._public = public
        first = next(iter(self._owns.values())).opening
        self.lengths = Lengths(len(first.theta), len(first.blinding) // SCALAR_BYTES)
        self._session = Session(self.group)
        self._states: dict[DeviceId, MemberState] = {}
        self._answers: dict[DeviceId, FromMember] = {}
        self._vectors: dict[DeviceId, bytes] = {}
        self._inputs: dict[DeviceId, MaskedVector] = {}
        self._seconds: dict[str, list[float]] = {step: [] for step in STEPS}
        self._up = dict.fromkeys(self.group.devices, 0)
        self._down = dict.fromkeys(self.group.devices, 0)
        self._collect = 0.0
        for device, own in self._owns.items():
            spent, found = _timed(partial(advertise, self.group, own.key, None))
            self._states[device], self._answers[device] = found
            self._seconds["keys"].append(spent)
        self._advance("shares")
        self._advance("mask")

    def fork(self) -> "GroupBench":
        """The same group at the same point, to go on from in another way."""
        other = object.__new__(GroupBench)
        other.__dict__.update(self.__dict__)
        for name in ("_states", "_answers", "_vectors", "_inputs", "_up", "_down"):
            setattr(other, name, dict(getattr(self, name)))
        other._seconds = {step: list(values) for step, values in self._seconds.items()}
        return other

    def finish(self, silent: tuple[DeviceId, ...]) -> dict[str, Any]:
        """Runs to the sum without those who are silent, and checks it."""
        for device in silent:
            del self._answers[device], self._vectors[device]
        self._advance("confirm")
        self._advance("release")
        self._advance("")
        unmask_s, found = _timed(partial(unmask, self._session, self.lengths, self._inputs))
        sealed = {device: self._scheme.commit(own.opening) for device, own in self._owns.items()}
        check_s, _ = _timed(partial(check_group_sum, self._all_groups, found, sealed, self._scheme))
        survivors = found.survivors
        return {
            **{f"{step}_s": statistics.median(self._seconds[step]) for step in STEPS},
            "up_bytes": statistics.median(self._up[device] for device in survivors),
            "down_bytes": statistics.median(self._down[device] for device in survivors),
            "collect_s": self.groups * self._collect,
            "unmask_s": self.groups * unmask_s,
            "check_s": self.groups * check_s,
        }

    def _taken(self, device: DeviceId, message: FromMember) -> Session:
        if isinstance(message, SealedRelease):
            release = open_release(self._operator, message)
            return take_release(self._session, device, message, release)
        return take(self._session, device, message, self._public)

    def _advance(self, step: str) -> None:
        """All answers arrive, the step closes, and each member answers that."""
        messages: dict[DeviceId, ToMember] = {}
        start = time.process_time()
        for device, message in self._answers.items():
            data = encode(message)
            self._up[device] += len(data)
            arrived = decode(type(message), data, limit=_LIMIT)
            self._session = self._taken(device, arrived)
            if device in self._vectors:
                vector = self._vectors.pop(device)
                self._up[device] += len(vector)
                self._inputs[device] = decode_masked_vector(vector)
        if self._session.step is not Step.DONE:
            self._session = close(self._session)
            messages = told(self._session)
        self._collect += time.process_time() - start
        self._answers = {}
        for device, message_to in messages.items():
            data = encode(message_to)
            self._down[device] += len(data)
            arrived_there = decode(type(message_to), data, limit=_LIMIT)
            spent, found = _timed(
                partial(answer, self._states[device], arrived_there, self._owns[device])
            )
            self._states[device], self._answers[device] = found.state, found.message
            if found.vector is not None:
                self._vectors[device] = found.vector
            self._seconds[step].append(spent)


def flower(python: str, row: dict[str, Any]) -> dict[str, Any]:
    """The same row with the building blocks of Flower's SecAgg+."""
    job = {name: row[name] for name in ("group", "threshold", "parameters", "dropped")}
    found = subprocess.run(
        [python, str(FLOWER)], input=json.dumps(job), capture_output=True, text=True, check=False
    )
    if found.returncode:
        return {**dict.fromkeys(row), "system": "flwr", "note": found.stderr[-200:]}
    figures: dict[str, Any] = json.loads(found.stdout)
    figures["unmask_s"] *= row["groups"]
    same = ("devices", "theta", "parameters", "dropped", "percent", "group", "groups", "threshold")
    return {name: row[name] for name in same} | {"system": "flwr"} | figures


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _sizes(text: str) -> list[str]:
    sizes = text.split(",")
    unknown = set(sizes) - set(SHAPES)
    if unknown:
        raise argparse.ArgumentTypeError(f"sizes are {','.join(SHAPES)}")
    return sizes


def main() -> int:
    """For `python -m bench.aggregation`."""
    parser = argparse.ArgumentParser(prog="python -m bench.aggregation", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
