"""Labels and exports of a global model, and what an application is told of a new one."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.device.test_profiles import a_config
from tests.protocol.rounds import SPEC, make_samples, make_task

from zkpot.aggregate import GlobalModel
from zkpot.cid import cid_text, node_cid, split_object
from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.initial import initial_model
from zkpot.journal import Journal
from zkpot.model import predict
from zkpot.proof.system import no_progress
from zkpot.task import encode_task
from zkpot_agent.blocks import JournalBlocks
from zkpot_agent.config import AgentConfig, ExportConfig, HookConfig
from zkpot_agent.inference import MODEL_FILE, TASK_FILE, infer, open_labels, open_model
from zkpot_agent.inference_convert import ModelFormat, convert, export_model, try_litert
from zkpot_agent.inference_hook import tell
from zkpot_agent.inference_input import Inputs, read_inputs
from zkpot_agent.inference_publish import FACTS_FILE, TFLITE_FILE, Publisher

TASK = make_task(make_samples(), node_cid(b"genesis"))
MODEL = GlobalModel(initial_model(SPEC, 5).theta_sum * 3, 3)
VALUES = np.random.default_rng(1).integers(0, 256, (20, SPEC.shape.features)).astype(np.uint8)
LABELS = predict(SPEC.shape, MODEL.theta, VALUES)


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    """A device that has published `MODEL`."""
    state = tmp_path / "state"
    state.mkdir()
    (state / MODEL_FILE).write_bytes(MODEL.encode())
    (state / TASK_FILE).write_bytes(encode_task(TASK))
    return a_config(state_dir=state)


def test_labels_of_the_published_model(config: AgentConfig) -> None:
    facts = infer(str(config.state_dir / MODEL_FILE), Inputs(VALUES, None), None, None)
    assert facts == {"samples": 20, "labels": LABELS.tolist()}


def test_right_labels_are_counted(config: AgentConfig) -> None:
    truth = LABELS.astype(np.uint8)
    truth[:3] = 1 - truth[:3]
    facts = infer(str(config.state_dir / MODEL_FILE), Inputs(VALUES, truth), None, None)
    assert facts["correct"] == 17


def test_by_cid_the_published_model(config: AgentConfig) -> None:
    name = cid_text(split_object(MODEL.encode())[0])
    assert np.array_equal(open_labels(name, config, None)(VALUES), LABELS)
    with pytest.raises(Fatal, match="needs --config"):
        open_labels(name, None, None)


def test_by_cid_what_the_round_has_fetched(config: AgentConfig) -> None:
    other = GlobalModel(-MODEL.theta_sum, 3)
    name = split_object(other.encode())[0]
    with pytest.raises(Fatal, match="has the agent run"):
        open_labels(cid_text(name), config, None)
    with Journal.open(config.state_dir / "journal.sqlite") as journal:
        blocks = JournalBlocks(journal)
        for cid, block in split_object(other.encode())[1].items():
            blocks.put(cid, block)
    found = open_model(cid_text(name), config, None)
    assert np.array_equal(found.theta, other.theta)
    with pytest.raises(Rejected, match="does not hold") as caught:
        open_model(cid_text(split_object(b"other")[0]), config, None)
    assert caught.value.reason is Reason.NOT_FOUND


def test_wrong_inputs_are_refused(config: AgentConfig) -> None:
    wrong = VALUES[:, 1:]
    with pytest.raises(Rejected, match="columns"):
        open_labels(str(config.state_dir / MODEL_FILE), None, None)(wrong)


def test_a_model_without_its_task_says_what_is_missing(config: AgentConfig, tmp_path: Path) -> None:
    alone = tmp_path / "alone.cbor"
    alone.write_bytes(MODEL.encode())
    with pytest.raises(Fatal, match=TASK_FILE):
        open_model(str(alone), None, None)
    assert open_model(str(alone), config, None).shape == SPEC.shape
    task = config.state_dir / TASK_FILE
    assert open_model(str(alone), None, task).shape == SPEC.shape
    with pytest.raises(Fatal, match="cannot read"):
        open_model(str(tmp_path / "nothing.cbor"), None, task)


@pytest.mark.parametrize("to", ModelFormat)
def test_exports_give_the_same_labels(config: AgentConfig, tmp_path: Path, to: ModelFormat) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("ai_edge_litert")
    output = tmp_path / f"model.{to}"
    size = export_model(str(to), output, None, config, None)
    assert size == output.stat().st_size
    labels = open_labels(str(output), None, None)
    assert np.array_equal(labels(VALUES), LABELS)
    with pytest.raises(Rejected):
        labels(VALUES[:, 1:])
    output.write_bytes(b"nonsense")
    with pytest.raises(Rejected):
        open_labels(str(output), None, None)


def test_what_export_refuses(config: AgentConfig, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="tflite or onnx"):
        export_model("pmml", tmp_path / "m", None, config, None)
    with pytest.raises(Fatal, match="give --model"):
        export_model("onnx", tmp_path / "m", None, None, None)
    pytest.importorskip("onnx")
    with pytest.raises(Fatal, match="cannot write") as caught:
        export_model("onnx", tmp_path / "no" / "m", None, config, None)
    assert caught.value.exit_code is ExitCode.FAILURE


def test_litert_is_tried_for_real() -> None:
    pytest.importorskip("ai_edge_litert")
    assert try_litert(no_progress) == 96


# --- inputs ---------------------------------------------------------------------------------


def test_inputs_from_both_kinds_of_files(tmp_path: Path) -> None:
    archive, table = tmp_path / "a.npz", tmp_path / "a.csv"
    np.savez(archive, inputs=VALUES, labels=LABELS)
    rows = [[*row, label] for row, label in zip(VALUES.tolist(), LABELS.tolist(), strict=True)]
    names = [*(f"x{n}" for n in range(VALUES.shape[1])), "label"]
    lines = [names, *(map(str, row) for row in rows)]
    table.write_text("\n".join(",".join(line) for line in lines) + "\n\n")
    for path in (archive, table):
        found = read_inputs(path)
        assert np.array_equal(found.values, VALUES)
        assert found.labels is not None
        assert np.array_equal(found.labels, LABELS)
    np.savez(archive, inputs=VALUES)
    table.write_text("x0,x1,x2\n1,2,3\n")
    assert read_inputs(archive).labels is None
    assert read_inputs(table).values.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "1"),
        ("a.csv", "x\n256\n"),
        ("a.csv", "x\n-1\n"),
        ("a.csv", "x\n1.5\n"),
        ("a.csv", "x,y\n1\n"),
        ("a.csv", "x\n" + "9" * 30 + "\n"),
        ("a.npz", "not an archive"),
        ("missing.csv", None),
    ],
)
def test_inputs_that_are_no_bytes(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(Fatal, match="cannot be used"):
        read_inputs(tmp_path / name)


@pytest.mark.parametrize("values", [VALUES / 2, VALUES[0], VALUES.astype(np.int64) + 256])
def test_arrays_that_are_no_bytes(tmp_path: Path, values: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", inputs=values)
    with pytest.raises(Fatal, match="cannot be used"):
        read_inputs(tmp_path / "a.npz")


def test_the_commands(config: AgentConfig, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", inputs=VALUES, labels=LABELS)
    model = str(config.state_dir / MODEL_FILE)

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "zkpot_agent", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    inputs = ("--input", str(tmp_path / "in.npz"))
    found = json.loads(call("infer", "--model", model, *inputs, "--json"))
    assert found == {"samples": 20, "labels": LABELS.tolist(), "correct": 20}
    plain = call("infer", "--model", model, *inputs)
    assert plain.split() == [str(label) for label in LABELS]
    pytest.importorskip("onnx")
    output = tmp_path / "m.onnx"
    call("export", "--format", "onnx", "--output", str(output), "--model", model)
    assert plain == call("infer", "--model", str(output), *inputs)


# --- publishing -----------------------------------------------------------------------------


def test_a_new_model_is_published_with_its_facts(config: AgentConfig, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shared = replace(config, export=ExportConfig(folder, tflite=False))
    asyncio.run(Publisher(shared, TASK).publish(MODEL.encode()))
    assert {path.name for path in folder.iterdir()} == {MODEL_FILE, TASK_FILE, FACTS_FILE}
    facts = json.loads((folder / FACTS_FILE).read_text())
    assert facts["model"] == cid_text(split_object(MODEL.encode())[0])
    assert list(facts["files"]) == [MODEL_FILE]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o640}
    assert np.array_equal(open_model(str(folder / MODEL_FILE), None, None).theta, MODEL.theta)


@pytest.mark.prover
def test_with_litert_there_is_a_tflite(config: AgentConfig) -> None:
    pytest.importorskip("ai_edge_litert")
    asyncio.run(Publisher(config, TASK).publish(MODEL.encode()))
    path = config.state_dir / TFLITE_FILE
    assert path.read_bytes() == convert(SPEC.shape, MODEL.theta, ModelFormat.TFLITE)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_is_full_does_not_stop_the_service(
    config: AgentConfig, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = config.state_dir / "file"
    blocked.write_text("")
    broken = replace(config, export=ExportConfig(blocked, tflite=False))
    asyncio.run(Publisher(broken, TASK).publish(MODEL.encode()))
    assert "cannot be written" in caplog.text


# --- hook -----------------------------------------------------------------------------------

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def test_a_command_gets_the_facts(tmp_path: Path) -> None:
    script = 'cat > "$0.tmp"; mv "$0.tmp" "$0"'
    hook = HookConfig(command=("/bin/sh", "-c", script, str(tmp_path / "heard")))
    asyncio.run(tell(hook, b'{"model": "x"}\n'))
    assert (tmp_path / "heard").read_text() == '{"model": "x"}\n'


def test_a_socket_gets_the_facts(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def scenario() -> None:
        done = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read())
            writer.close()
            done.set()

        async with await asyncio.start_unix_server(handle, tmp_path / "s"):
            await tell(HookConfig(socket=tmp_path / "s"), b"facts\n")
            await done.wait()

    asyncio.run(scenario())
    assert heard == [b"facts\n"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("/bin/sh", "-c", "exit 3"), "status 3"),
        (("/nonexistent/program",), "failed"),
        (("/bin/sh", "-c", "exec <&-; exit 0"), ""),
        (("a\0b",), "failed"),
    ],
)
def test_a_broken_command_is_a_line_in_the_log(
    command: tuple[str, ...], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(tell(HookConfig(command=command), b"x" * 100_000))
    assert said in caplog.text


def test_a_command_that_hangs_is_ended_with_all_it_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = f"sleep 300 & echo $! > {tmp_path / 'pid'}; wait"
    began = time.monotonic()
    asyncio.run(tell(HookConfig(command=("/bin/sh", "-c", script), timeout_s=5), b""))
    assert time.monotonic() - began < 100
    assert "took longer than 5 s" in caplog.text
    pid = int((tmp_path / "pid").read_text())
    stat = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 60
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_socket_that_nobody_reads_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(tell(HookConfig(socket=tmp_path / "nobody"), b"x"))
    assert "failed" in caplog.text

    async def scenario() -> None:
        async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(3)
            writer.close()

        async with await asyncio.start_unix_server(handle, tmp_path / "s"):
            await tell(HookConfig(socket=tmp_path / "s", timeout_s=1), b"x" * (1 << 24))

    asyncio.run(scenario())
    assert "took longer" in caplog.text
