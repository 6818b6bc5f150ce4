"""A file that is no model any more is an error of the file, never a traceback."""

import random
from pathlib import Path

import numpy as np
import pytest
from tests.protocol.rounds import SPEC, make_samples, make_task

from zkpot.cid import node_cid
from zkpot.errors import Rejected
from zkpot.initial import initial_model
from zkpot.task import encode_task
from zkpot_agent.inference import TASK_FILE, open_labels
from zkpot_agent.inference_convert import ModelFormat, convert

MODEL = initial_model(SPEC, 5)
VALUES = np.zeros((2, SPEC.shape.features), np.uint8)


@pytest.mark.parametrize("kind", ["cbor", "onnx"])
def test_a_damaged_model_gives_labels_or_is_rejected(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("onnx")
    (tmp_path / TASK_FILE).write_bytes(encode_task(make_task(make_samples(), node_cid(b"genesis"))))
    path, chance = tmp_path / f"model.{kind}", random.Random(1)
    whole = convert(SPEC.shape, MODEL.theta, ModelFormat.ONNX) if kind == "onnx" else MODEL.encode()
    refused = 0
    for _ in range(250):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 2, 6])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            open_labels(str(path), None, None)(VALUES)
        except Rejected:
            refused += 1
    assert refused
