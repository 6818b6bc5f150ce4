"""`zkpot-agent check`: tries what the agent needs for real, one thing after the other."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from zkpot.config import load_config
from zkpot.errors import ZkpotError
from zkpot.findings import Check, Finding, attempt
from zkpot.ids import device_text
from zkpot.journal import Journal
from zkpot.keys import load_key_file
from zkpot.link.mqtt import MqttLink
from zkpot.proof import child
from zkpot.proof.registry import SUMCHECK, SYSTEM_TO_PACKAGE, installed
from zkpot.wire import topics
from zkpot_agent.check_memory import memory_available_mb, memory_limit_mb
from zkpot_agent.config import AgentConfig, ProveMode, with_credentials
from zkpot_agent.data.source import open_source
from zkpot_agent.inference_convert import litert_installed, try_litert
from zkpot_agent.privacy.accountant import require_accountant
from zkpot_agent.privacy.budget import Spent
from zkpot_agent.privacy.job import charge_round
from zkpot_agent.profile import Profile, bounded, profile_of
from zkpot_agent.selftest import known_task, plan_for, run_selftest
from zkpot_agent.status import running_pid
from zkpot_agent.thermal import SYSFS, Thermometer, read_zones

BROKER_SECONDS = 10.0
DISK_BYTES = 100 * 1024 * 1024
EARLIEST_CLOCK = 1_735_689_600
"""2025-01-01: a clock before it has never been set, and TLS certificates will not be valid."""

LITERT_SECONDS = 60.0
ACCOUNTANT_SECONDS = 300.0
"""Loading it takes seconds on a desktop machine."""

SYNCHRONIZED = Path("run/systemd/timesync/synchronized")


@dataclass(frozen=True)
class Device:
    """What is checked: the config within its profile, and where the system's files lie."""

    config: AgentConfig
    profile: Profile | None = None
    root: Path = Path("/")
    sysfs: Path = SYSFS
    clock: Callable[[], float] = field(default=time.time)


def check_device(path: Path) -> list[Finding]:
    """Checks the configuration and everything it names."""
    try:
        given = with_credentials(load_config(AgentConfig, path))
        profile = profile_of(given)
    except ZkpotError as error:
        return [Finding("config", ok=False, detail=str(error), fix=f"mend {path}")]
    config = bounded(given, profile)
    device = Device(config, profile)
    found = [attempt((what, test, fix.format(config=config)), device) for what, test, fix in CHECKS]
    return [Finding("config", ok=True, detail=str(path)), *found]


def check_profile(device: Device) -> str:
    """Which firmware profile bounds the agent."""
    if device.profile is None:
        return "none: no limits but those of the config"
    return f"{device.profile.name}: {device.profile.limits.memory_mb} MB"


def check_key(device: Device) -> str:
    """The device's key can be read and is whole."""
    return device_text(load_key_file(device.config.key_file).id)


def check_credentials(device: Device) -> str:
    """Every secret file is there and closed to others."""
    broker = device.config.broker
    tls_key = None if broker.tls is None else broker.tls.key_file
    secrets = [each for each in (device.config.key_file, broker.password_file, tls_key) if each]
    for secret in secrets:
        secret.read_bytes()
        mode = secret.stat().st_mode & 0o007
        if mode:
            raise OSError(f"{secret} can be read by everybody")
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    source = "from files" if given is None else "from systemd"
    return f"{len(secrets)} secret files, {source}"


def check_clock(device: Device) -> str:
    """The clock was set once: TLS certificates depend on it."""
    now = device.clock()
    if now < EARLIEST_CLOCK:
        raise OSError("the clock was never set")
    synchronized = (device.root / SYNCHRONIZED).exists()
    how = "synchronised" if synchronized else "not known to be synchronised"
    return f"{time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(now))}, {how}"


def check_disk(device: Device) -> str:
    """The state directory can be written and has room."""
    folder = device.config.state_dir
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(b"x")
    free = shutil.disk_usage(folder).free
    if free < DISK_BYTES:
        raise OSError(f"{free >> 20} MiB free in {folder}, expected {DISK_BYTES >> 20}")
    return f"{free >> 20} MiB free in {folder}"


def check_memory(device: Device) -> str:
    """The memory that the profile counts on is there."""
    available = memory_available_mb(device.root)
    if device.profile is None:
        return f"{available} MB available"
    budget, limit = device.profile.limits.memory_mb, memory_limit_mb(device.root)
    if limit is not None and limit < budget:
        raise OSError(f"this process may use {limit} MB, the profile counts on {budget} MB")
    if available < budget:
        raise OSError(f"{available} MB available, the profile counts on {budget} MB")
    return f"{available} MB available, at most {budget} MB will be used"


def check_thermal(device: Device) -> str:
    """The sensors that training pauses by answer."""
    thermal = None if device.profile is None else device.profile.thermal
    if thermal is None:
        return "no limits"
    zone = Thermometer(thermal, device.sysfs).hottest()
    if zone is not None:
        return f"{zone.name} has {zone.celsius:.0f} degrees, training pauses at {thermal.pause_c}"
    if not thermal.zones:
        return "no sensor here: training does not pause for heat"
    names = ", ".join(each.name for each in read_zones(device.sysfs)) or "none"
    raise OSError(f"no answer from {', '.join(thermal.zones)}; sensors here: {names}")


def check_data(device: Device) -> str:
    """The data source gives samples."""
    data = device.config.data
    samples = open_source(data.source, data.parameters).load()
    return f"{samples.size} samples of {samples.inputs.shape[1]} features"


def check_privacy(device: Device) -> str:
    """What the owner agrees to; where noise is added, the budget must allow a round."""
    privacy = device.config.privacy
    modes, noise = ", ".join(privacy.aggregation), privacy.differential
    if noise is None:
        return f"aggregation {modes}"
    require_accountant()
    limits = device.config.limits.of(ACCOUNTANT_SECONDS)
    first = asyncio.run(child.run(charge_round, Spent(), noise, limits=limits))
    return f"aggregation {modes}; a round costs epsilon {first.epsilon:.3g} of {noise.epsilon:g}"


def check_prover(device: Device) -> str:
    """A proof can be made here, or the owner allows provers for when it cannot."""
    prove = device.config.prove
    try:
        return _prove_here(device)
    except OSError as error:
        if not prove.provers or prove.mode in (None, ProveMode.LOCAL):
            raise
        return f"not on this device ({error}); {len(prove.provers)} provers are allowed"


def _prove_here(device: Device) -> str:
    """A proof is made and verified within the limits: the task's, or a small one before it."""
    found = installed()
    if not found:
        names = ", ".join(f"{system} needs {p}" for system, p in SYSTEM_TO_PACKAGE.items())
        raise OSError(f"no proof system is installed: {names}")
    known = known_task(device.config) is not None
    if not known and SUMCHECK not in found:
        return f"{', '.join(found)} is installed; tried once the task is known"
    result = run_selftest(plan_for(device.config, None if known else "digits", None))
    if result.trial is None or result.problem is not None:
        raise OSError(result.problem)
    return f"{result.plan.system_id} proves in {result.trial.prove_s:.2f} s"


def check_litert(device: Device) -> str:
    """LiteRT, where it is installed, computes exactly what the integers say."""
    if not litert_installed():
        return "not installed: models are published as .cbor only (pip install 'zkpot[litert]')"
    logits = asyncio.run(child.run(try_litert, limits=device.config.limits.of(LITERT_SECONDS)))
    return f"exact in {logits} of {logits} logits"


def check_broker(device: Device) -> str:
    """The broker takes this device, unless the running service holds the connection."""
    config = device.config
    where = f"{config.broker.host}:{config.broker.port}"
    pid = running_pid(config)
    if pid is not None:
        return f"not tried: the service (pid {pid}) runs and would lose its link to {where}"
    asyncio.run(_connect(config))
    return f"{where} accepts this device"


async def _connect(config: AgentConfig) -> None:
    key = load_key_file(config.key_file)
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "j") as journal:
        link = MqttLink(
            config.broker,
            client_id=device_text(key.id),
            journal=journal,
            subscriptions=topics.device_subscriptions(key.id, config.task_id),
        )
        running = asyncio.ensure_future(link.run())
        ready = asyncio.ensure_future(link.ready())
        await asyncio.wait(
            {running, ready}, timeout=BROKER_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        connected = ready.done()
        if running.done():
            running.result()
        await link.stop()
        for task in (running, ready):
            task.cancel()
        await asyncio.gather(running, ready, return_exceptions=True)
        if not connected:
            raise OSError(f"no answer within {BROKER_SECONDS:.0f} s")


CHECKS: tuple[Check[Device], ...] = (
    ("profile", check_profile, "name another profile in the config"),
    (
        "key",
        check_key,
        "restore {config.key_file}, or make one with `zkpot-agent keygen` and have it enrolled",
    ),
    (
        "credentials",
        check_credentials,
        "put the file there with mode 600; for the service, in /etc/zkpot/agent.credentials",
    ),
    ("clock", check_clock, "enable time synchronisation: timedatectl set-ntp true"),
    ("disk", check_disk, "make room, or make {config.state_dir} writable"),
    ("memory", check_memory, "end other programs, or name a profile with less memory_mb"),
    (
        "thermal",
        check_thermal,
        "copy the profile, name this board's sensors in thermal.zones, name the copy in the config",
    ),
    ("data", check_data, "see [data] in the config: source and parameters"),
    ("privacy", check_privacy, "pip install 'zkpot[dp]', or see [privacy] in the config"),
    (
        "prover",
        check_prover,
        "pip install 'zkpot[sumcheck]', or give the profile more memory, or use a prover",
    ),
    ("litert", check_litert, "reinstall ai-edge-litert, or set export.tflite = false"),
    (
        "broker",
        check_broker,
        "is {config.broker.host} right, running, and the device enrolled? Look at [broker]",
    ),
)
"""In their order; `{config}` is the agent's."""
