"""What a data source is, how it is opened, and the checks that hold for all of them.

The samples never leave the device. Packages bring their own sources under the entry point
group `zkpot.data`: a callable that takes the config's parameters as keyword arguments.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoints
from typing import Protocol, cast

import numpy as np

from zkpot.batch import Batch
from zkpot.errors import ExitCode, Fatal
from zkpot.model import Shape
from zkpot_agent.data.plugin import find_plugin

DATA_GROUP = "zkpot.data"

ACCEPTED_TYPES: dict[object, tuple[type, ...]] = {
    int: (int,),
    float: (float, int),
    str: (str,),
    bool: (bool,),
}
"""What a config file may give for a parameter annotated with the key."""


class DataSource(Protocol):
    """A device's private labelled samples."""

    @property
    def features(self) -> int:
        """Inputs per sample."""
        ...

    @property
    def classes(self) -> int:
        """Labels lie in [0, classes), whether or not this device has samples of each."""
        ...

    def load(self) -> Batch:
        """All samples: inputs uint8 [M, features], labels uint8 [M]."""
        ...


def open_source(
    name: str, parameters: Mapping[str, object], entries: EntryPoints | None = None
) -> DataSource:
    """The data source `name`, made with `parameters`.

    Raises `Fatal` with DEPENDENCY for an unknown plug-in or a missing package, and with CONFIG
    for parameters that it does not take.
    """
    factory = cast("Callable[..., DataSource]", find_plugin(DATA_GROUP, name, entries))
    signature = inspect.signature(factory, eval_str=True)
    try:
        signature.bind(**parameters)
        _check_types(signature, parameters)
        return factory(**parameters)
    except (TypeError, ValueError) as error:
        raise Fatal(
            ExitCode.CONFIG, f"data source {name!r}: {error}; it takes {signature}"
        ) from error


def _check_types(signature: inspect.Signature, parameters: Mapping[str, object]) -> None:
    problems = []
    for name, value in parameters.items():
        known = signature.parameters.get(name)
        accepted = ACCEPTED_TYPES.get(known.annotation) if known else None
        if accepted is not None and type(value) not in accepted:
            problems.append(f"{name} is {value!r}, expected {accepted[0].__name__}")
    if problems:
        raise TypeError("; ".join(problems))


def load_samples(source: DataSource, shape: Shape) -> Batch:
    """The samples of `source`, checked against the task's shape.

    Raises `Fatal` with CONFIG, saying what was expected and what was found.
    """
    samples = source.load()
    inputs, labels = samples.inputs, samples.labels
    problems = []
    if inputs.dtype != np.uint8 or labels.dtype != np.uint8:
        problems.append(f"inputs are {inputs.dtype} and labels {labels.dtype}, expected uint8")
    if inputs.ndim != 2 or inputs.shape[1] != shape.features:
        problems.append(f"inputs are {inputs.shape}, expected [M, {shape.features}]")
    if labels.shape != inputs.shape[:1] or not labels.size:
        problems.append(f"labels are {labels.shape} for inputs {inputs.shape}, expected [M], M > 0")
    if source.classes > shape.classes:
        problems.append(f"{source.classes} classes, the task has {shape.classes}")
    if labels.max(initial=0) >= shape.classes:
        problems.append(f"label {labels.max()}, the task has {shape.classes} classes")
    if problems:
        raise Fatal(ExitCode.CONFIG, f"the data does not fit the task: {'; '.join(problems)}")
    return samples
