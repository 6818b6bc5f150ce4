"""JSTprove beside it: what proving one sample costs with a general sumcheck prover.

Not the same statement: one inference of a public model, without zero knowledge, without
commitment and count. It is installed once into an environment of its own (5.8 GB, with torch)
under the user's cache, and needs OpenMPI's library (Debian: libopenmpi3). Reported are the
seconds its own prover prints, without the start of Python and torch around it.
"""

import os
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zkpot.model import Shape

REQUIREMENT = "JSTprove==2.1.0"
STEP_SECONDS = 300
REPEATS = 3

_TAKEN = re.compile(r"Time taken: ([0-9.]+) seconds")

# Runs in JSTprove's own environment: a float model of the given widths, and one input. Its
# reader wants every attribute written out, and an output of this name.
_MAKE_MODEL = """
import json, sys
import numpy, onnx
from onnx import TensorProto, helper, numpy_helper
widths = [int(width) for width in sys.argv[1:]]
random, nodes, weights, value = numpy.random.default_rng(1), [], [], "input"
for layer, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
    W = random.normal(0, inputs ** -0.5, (outputs, inputs)).astype(numpy.float32)
    weights.append(numpy_helper.from_array(W, f"W{layer}"))
    weights.append(numpy_helper.from_array(numpy.zeros(outputs, numpy.float32), f"b{layer}"))
    last = layer == len(widths) - 2
    result = "output" if last else f"z{layer}"
    nodes.append(helper.make_node("Gemm", [value, f"W{layer}", f"b{layer}"], [result],
                                  name=f"gemm{layer}", alpha=1.0, beta=1.0, transB=1))
    if not last:
        value = f"a{layer}"
        nodes.append(helper.make_node("Relu", [result], [value], name=f"relu{layer}"))
tensor = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])
graph = helper.make_graph(nodes, "mlp", [tensor("input", widths[0])],
                          [tensor("output", widths[-1])], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 9
onnx.save(model, "model.onnx")
with open("input.json", "w") as file:
    json.dump({"input": random.random((1, widths[0])).round(4).tolist()}, file)
"""


class _NotMeasured(Exception):
    """The reason, for the table."""


def measured(shape: Shape) -> dict[str, Any]:
    """The fields of a row about one sample, or a note that says why there are none."""
    try:
        with TemporaryDirectory(prefix="zkpot-jstprove-") as folder:
            return _measured(_environment(), Path(folder), shape)
    except (_NotMeasured, subprocess.TimeoutExpired, OSError) as error:
        return {"note": f"not measured: {error}"}


def _measured(environment: Path, folder: Path, shape: Shape) -> dict[str, Any]:
    _run([environment / "python", "-c", _MAKE_MODEL, *map(str, shape.widths)], folder)
    jst = [str(environment / "jst"), "--no-banner"]
    sample = ["-i", "input.json", "-o", "output.json"]
    files = ["-c", "circuit.bin", "-w", "witness.bin"]
    _run([*jst, "compile", "-m", "model.onnx", "-c", "circuit.bin"], folder)
    _run([*jst, "witness", *files, *sample], folder)
    prove = [
        _seconds(_run([*jst, "prove", *files, "-p", "proof.bin"], folder)) for _ in range(REPEATS)
    ]
    verify = _seconds(_run([*jst, "verify", *files, *sample, "-p", "proof.bin"], folder))
    return {
        "batch": 1,
        "threads": len(os.sched_getaffinity(0)),
        "prove_s": min(prove),
        "verify_s": verify,
        "proof_bytes": (folder / "proof.bin").stat().st_size,
        "repeats": REPEATS,
        "note": "one sample, not zero-knowledge",
    }


def _environment() -> Path:
    """The folder of its programs, made on first use."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "zkpot" / REQUIREMENT
    programs = folder / "bin"
    if not (programs / "jst").exists():
        sys.stderr.write(f"installing {REQUIREMENT} (once; several minutes, 5.8 GB)\n")
        venv.create(folder, with_pip=True, clear=True)
        _run([programs / "python", "-m", "pip", "install", "-q", REQUIREMENT], folder, 1500)
    return programs


def _run(command: Sequence[str | Path], folder: Path, seconds: int = STEP_SECONDS) -> str:
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        env={**os.environ, **allowed},
    )
    if done.returncode != 0 or "Error:" in done.stderr:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise _NotMeasured(lines[-1][:200] if lines else f"exit status {done.returncode}")
    return done.stdout


def _seconds(output: str) -> float:
    found = _TAKEN.search(output)
    if found is None:
        raise _NotMeasured("it no longer prints its time")
    return float(found[1])
