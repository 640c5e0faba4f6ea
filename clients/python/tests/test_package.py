"""What users install: the wheel, in a clean environment, with the oldest runtimes it declares; and the examples."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from running_service import TOKEN

PACKAGE = Path(__file__).resolve().parents[1]

# What pyproject.toml declares as lower bounds. They have no wheels for newer Pythons.
OLDEST = ["grpcio==1.72.2", "protobuf==6.30.0", "googleapis-common-protos==1.70.0", "typing-extensions==4.12.0"]

USE = """
import sealane
from sealane.v1 import common_pb2, inference_pb2, inference_pb2_grpc, operator_pb2_grpc, region_pb2_grpc

with sealane.Client() as client:
    print(sealane.text_of(client.complete("gpt-4o", "hi")))
"""


def run(*command, **environment):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=PACKAGE / "tests",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.timeout(600)
def test_the_wheel_installs_and_works_with_the_oldest_runtimes_it_declares(real, tmp_path):
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, PACKAGE)
    (wheel,) = tmp_path.glob("sealane-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"sealane/py.typed", "sealane/service_config.json", "sealane/v1/inference_pb2.pyi"} <= names
    assert not [name for name in names if "test" in name]

    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    oldest = OLDEST if sys.version_info < (3, 14) else []
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, *oldest)
    assert run(python, "-W", "error", "-c", USE, SEALANE_ADDR=real.address, SEALANE_TOKEN=TOKEN).strip()


@pytest.mark.parametrize("name", ["complete", "stream", "embed"])
def test_examples(real, name):
    example = PACKAGE / "examples" / f"{name}.py"
    assert run(sys.executable, example, SEALANE_ADDR=real.address, SEALANE_TOKEN=TOKEN).strip()
