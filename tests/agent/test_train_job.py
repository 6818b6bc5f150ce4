"""What the owner learns when the device cannot train."""

import asyncio
from pathlib import Path

import pytest
from tests.protocol.rounds import SPEC, make_samples, make_task

from zkpot.cid import node_cid
from zkpot.config import parse_config
from zkpot.errors import Fatal
from zkpot.initial import initial_model
from zkpot.proof import child
from zkpot.proof.system import Obstacle, ProvingFailed
from zkpot_agent import thermal_job
from zkpot_agent.config import DataConfig, TrainConfig
from zkpot_agent.profile_holds import NO_HOLDS

TASK = make_task(make_samples(), node_cid(b"genesis"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("csv", r"data\.csv cannot be used: line 3: .*'nan'"),
        ("npz", r"data\.csv cannot be used: "),
        ("tape", "no plug-in 'tape'"),
        ("synthetic", "data source 'synthetic'"),
    ],
)
def test_a_mistake_of_the_owner_is_named_across_the_process(
    tmp_path: Path, source: str, words: str
) -> None:
    path = tmp_path / "data.csv"
    path.write_text("label,x\n1,2\n1,nan\n")
    data = DataConfig(source, {"path": str(path), "classes": 2})
    training = child.run(
        thermal_job.train, NO_HOLDS, TASK, initial_model(SPEC, 1), data, TrainConfig(), 1
    )
    with pytest.raises(ProvingFailed, match=words) as caught:
        asyncio.run(training)
    assert caught.value.obstacle is Obstacle.UNAVAILABLE


def test_a_seed_that_no_generator_takes_is_an_error_of_the_config(tmp_path: Path) -> None:
    for seed in (-1, 1 << 63):
        with pytest.raises(Fatal, match=f"seed: {seed} is outside"):
            parse_config(TrainConfig, {"seed": seed}, tmp_path, "agent.toml")
