"""A stand-in for the `ezkl` program, which cannot be had where these tests run.

It takes exactly the options of `ezkl prove` (23.0) that are used, and makes a real proof with
the installed `ezkl` Python module, which has the same code behind it and writes the same file.
It runs on no GPU. Tests write it as an executable with `write_stand_in`.
"""

import argparse
import sys
from pathlib import Path


def write_stand_in(path: Path) -> Path:
    """This file as an executable; beside it, it notes the environment it is given."""
    return write_program(path, Path(__file__).read_text())


def write_program(path: Path, source: str) -> Path:
    """An executable that runs `source` with this interpreter."""
    path.write_text(f"#!{sys.executable}\n{source}")
    path.chmod(0o755)
    return path


def main() -> None:
    """Runs `ezkl prove`."""
    import os

    import ezkl

    noted = "\n".join([str(Path.cwd()), *sorted(os.environ)])
    Path(sys.argv[0]).with_suffix(".noted").write_text(noted)
    parser = argparse.ArgumentParser(prog="ezkl", allow_abbrev=False)
    prove = parser.add_subparsers(required=True).add_parser("prove", allow_abbrev=False)
    for option in ("witness", "compiled-circuit", "pk-path", "proof-path", "srs-path"):
        prove.add_argument(f"--{option}", required=True)
    given = parser.parse_args()
    print(Path(given.witness).read_text())  # noqa: T201  (a program may print what it reads)
    ezkl.prove(
        given.witness, given.compiled_circuit, given.pk_path, given.proof_path, given.srs_path
    )


if __name__ == "__main__":
    main()
