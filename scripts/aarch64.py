"""Cross-builds the prover's wheel for aarch64 and runs its self-test under qemu.

Steps, each cached under ~/.cache/zkpot/aarch64:

1. qemu's user emulation and the cross linker, installed with apt where that is possible;
2. the wheel, by cargo and maturin;
3. a folder of unpacked arm64 Debian packages that holds a Python;
4. the agent's pinned dependencies as aarch64 wheels, and what its tests need;
5. under emulation: the vectors of prover/vectors, then `zkpot-agent selftest`.

With --build-only it stops after the wheel, whose path it prints. With --python PATH it runs
nothing either, and makes PATH a program that is the emulated Python with all of that. Exit
status 77: the emulator is not there and cannot be installed.
"""

# ruff: noqa: T201  # a script prints

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zkpot" / "aarch64"
TARGET = "aarch64-unknown-linux-gnu"
QEMU = "qemu-aarch64-static"
LINKER = "aarch64-linux-gnu-gcc"
PLATFORMS = ("manylinux2014", "manylinux_2_27", "manylinux_2_28", "manylinux_2_34")
TOOL_TO_PACKAGE = {QEMU: "qemu-user-static", LINKER: "gcc-aarch64-linux-gnu"}

DEBIAN_PACKAGES = ("python3", "libstdc++6")
"""With all they depend on: Python, and what numpy's wheel expects of the system."""

EXTRAS = ("agent", "digits", "dp", "litert")

LEFT_OUT = frozenset({"pycddl", "pytest-cov", "coverage"})
"""Distributions that the agent's tests do without; the first has no wheel for aarch64."""

EXIT_NO_EMULATOR = 77


def main() -> int:
    """0: the self-test passed; 1: it failed; 77: no emulator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build-only", action="store_true", help="build the wheel, run nothing")
    parser.add_argument(
        "--python", type=Path, metavar="PATH", help="make this program, run nothing"
    )
    options = parser.parse_args()
    with alone():
        ready = have_tools([LINKER] if options.build_only else [QEMU, LINKER])
    if not ready:
        return EXIT_NO_EMULATOR
    if options.build_only:
        with alone():
            print(build_wheel())
        return 0
    if options.python is not None:
        make_python(options.python.absolute())
        return 0
    with tempfile.TemporaryDirectory(prefix="zkpot-aarch64-") as folder:
        python = Path(folder) / "python"
        print(make_python(python), flush=True)
        return try_out(python)


def make_python(path: Path) -> Path:
    """Makes `path` the emulated Python, with files beside it; returns the prover's wheel."""
    with alone():
        wheel = build_wheel()
        root = make_root()
        python = next(p for p in (root / "usr/bin").glob("python3.*") if p.name.count(".") == 1)
        site = make_site(python.name.removeprefix("python"))
        own = path.with_name("own")
        unpack_own(own, wheel)
    make_wrapper(path, root, python, (own, site))
    return wheel


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One process at a time installs tools or fills the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def have_tools(tools: Iterable[str]) -> bool:
    """Installs what is missing; says what cannot be had."""
    missing = [TOOL_TO_PACKAGE[tool] for tool in tools if shutil.which(tool) is None]
    if missing and shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", *missing]):
            subprocess.run(
                ["apt-get", *command], check=False, env=environment, stdout=subprocess.DEVNULL
            )
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if absent:
        print(f"NOT RUN: {', '.join(absent)} cannot be installed here", file=sys.stderr)
    return not absent


def build_wheel() -> Path:
    """The wheel of the present sources."""
    subprocess.run(["rustup", "target", "add", TARGET], check=True, stderr=subprocess.DEVNULL)
    wheels = CACHE / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    environment = {
        **os.environ,
        "CARGO_TARGET_DIR": str(CACHE / "target"),
        f"CARGO_TARGET_{TARGET.upper().replace('-', '_')}_LINKER": LINKER,
    }
    maturin = [sys.executable, "-m", "maturin", "build", "--release", "--target", TARGET]
    subprocess.run(
        [*maturin, "--quiet", "--out", str(wheels)],
        check=True,
        cwd=ROOT / "prover",
        env=environment,
        stdout=sys.stderr,
    )
    (wheel,) = wheels.glob("*aarch64.whl")
    return wheel


def make_root() -> Path:
    """A folder with Debian's Python for arm64 and what it links to; never installed."""
    root = CACHE / "-".join(("root", *DEBIAN_PACKAGES))
    if root.exists():
        return root
    apt = CACHE / "apt"
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "status").write_text("")
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
    }
    command = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    subprocess.run([*command, "update"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(
        [*command, "install", "--download-only", "-y", *DEBIAN_PACKAGES],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    unpacked = CACHE / "root.new"
    shutil.rmtree(unpacked, ignore_errors=True)
    for package in (apt / "cache" / "archives").glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(unpacked)], check=True)
    unpacked.rename(root)
    return root


def unpack_own(own: Path, prover: Path) -> None:
    """Fills a folder with the two distributions of this repository, from their wheels."""
    with tempfile.TemporaryDirectory(prefix="zkpot-wheel-") as folder:
        pip = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", folder, str(ROOT)],
            check=True,
            stdout=sys.stderr,
        )
        for wheel in (prover, *Path(folder).glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(own)


def make_site(version: str) -> Path:
    """A folder with the dependencies of the agent and of its tests, as pinned, for aarch64."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [
        *project["project"]["dependencies"],
        *(line for extra in EXTRAS for line in extras[extra]),
        *project["dependency-groups"]["test"],
    ]
    pins = pinned(needed(wanted))
    site = CACHE / f"site-{version}"
    stamp = CACHE / f"site-{version}.txt"
    if not stamp.exists() or stamp.read_text() != pins:
        shutil.rmtree(site, ignore_errors=True)
        stamp.write_text("")
        requirements = CACHE / "requirements.txt"
        requirements.write_text(pins)
        abi = f"cp{version.replace('.', '')}"
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"),
                *("--target", str(site), "--no-deps", "--only-binary=:all:"),
                *(f"--platform={platform}_aarch64" for platform in PLATFORMS),
                *("--implementation=cp", f"--abi={abi}", "--abi=abi3", "--abi=none"),
                *(f"--python-version={version}", "--require-hashes", "-r", str(requirements)),
            ],
            check=True,
        )
        stamp.write_text(pins)
    return site


def needed(wanted: Iterable[str]) -> set[str]:
    """Names of all distributions that these requirements need, but for `LEFT_OUT`."""
    found: set[str] = set()
    waiting = [(Requirement(line), frozenset({""})) for line in wanted]
    while waiting:
        requirement, extras = waiting.pop()
        marker = requirement.marker
        if marker is not None and not any(
            marker.evaluate({"extra": extra, "platform_machine": "aarch64"}) for extra in extras
        ):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name not in found | LEFT_OUT:
            found.add(name)
            chosen = frozenset({"", *requirement.extras})
            waiting += [(Requirement(line), chosen) for line in metadata.requires(name) or []]
    return found


def pinned(names: set[str]) -> str:
    """The lines of the lock file that pin `names`."""
    blocks = re.split(r"\n(?=\S)", (ROOT / "requirements" / "locked.txt").read_text())
    return "\n".join(block for block in blocks if block.partition("==")[0] in names) + "\n"


def make_wrapper(path: Path, root: Path, python: Path, folders: Iterable[Path]) -> Path:
    """A program that is Python to whoever starts it, children of that Python included."""
    search = ":".join(map(str, folders)) + "${PYTHONPATH:+:$PYTHONPATH}"
    path.write_text(
        f'#!/bin/sh\nexec {QEMU} -0 "{path}" -L "{root}" -E PYTHONHOME="{root}/usr" '
        f'-E PYTHONPATH="{search}" -E PYTHONDONTWRITEBYTECODE=1 "{python}" "$@"\n'
    )
    path.chmod(0o755)
    return path


def try_out(python: Path) -> int:
    """Vectors and self-test under emulation, then its proof on this machine."""
    vectors = subprocess.run(
        [str(python), str(ROOT / "tests/aarch64/vectors.py")],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if vectors.returncode != 0:
        return 1
    made = json.loads(vectors.stdout)
    check_here(made)
    print(f"{made['machine']}: {made['vectors']} vectors hold, its own proof holds here")
    selftest = [str(python), "-m", "zkpot_agent", "selftest", "--shape", "digits", "--json"]
    done = subprocess.run(selftest, check=False, stdout=subprocess.PIPE, text=True)
    print(done.stdout.strip())
    return 1 if done.returncode else 0


def check_here(made: dict[str, str]) -> None:
    """Verifies, on this machine, the proof that was made under emulation."""
    import zkpot_prover  # noqa: PLC0415  (only this step needs it)

    vector = json.loads((ROOT / "prover/vectors/two-layers.json").read_text())
    shape = zkpot_prover.Shape(vector["dims"], vector["shifts"], vector["bias_bits"])
    inputs, labels, context = (bytes.fromhex(vector[n]) for n in ("inputs", "labels", "context"))
    proof, commitment = bytes.fromhex(made["proof"]), bytes.fromhex(made["commitment"])
    zkpot_prover.verify(shape, commitment, inputs, labels, context, vector["count"], proof)


if __name__ == "__main__":
    sys.exit(main())
