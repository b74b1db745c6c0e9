"""doctor says what is there, what is missing, and how to get it."""

import json
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from demonstrably.cli import doctor

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def findings():
    return doctor.examine()


@pytest.fixture
def quick_probes(monkeypatch):
    """No processes are started: torch is there without CUDA, and rendering works."""
    answer = json.dumps({"threads": 1, "built_for_cuda": None, "cuda": []})
    monkeypatch.setattr(doctor, "_probe", lambda code, environment: (answer, None))


def test_json_is_one_document_and_nothing_else(capsys):
    assert doctor.main(["--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"problems", "versions", "device", "memory", "rendering", "extras"}


def test_versions_cover_every_dependency(findings):
    wanted = PROJECT["dependencies"] + [r for name in doctor.ENABLES for r in PROJECT["optional-dependencies"][name]]
    versions = findings["versions"]
    assert {Requirement(line).name for line in wanted} == set(versions) - {"demonstrably", "python"}
    assert versions["numpy"] == metadata.version("numpy")


def test_every_extra_for_users_is_explained():
    assert set(doctor.ENABLES) == set(PROJECT["optional-dependencies"]) - {"all", "dev", "docs"}


def test_the_machine(findings):
    device, memory = findings["device"], findings["memory"]
    assert device["cores"] >= 1 and device["threads"] >= 1 and device["processor"]
    assert "torch" not in device
    assert 0 < (memory["available"] or 1) <= memory["total"]


def test_a_missing_extra_says_what_it_enables_and_how_to_get_it(monkeypatch, capsys):
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "av" else real(name))
    monkeypatch.setattr(
        doctor,
        "_probe",
        lambda code, environment: ('{"threads": 1, "built_for_cuda": "13.0", "cuda": []}', None),
    )
    assert doctor.main([]) == 0
    shown = capsys.readouterr().out
    assert "missing: pip install 'av>=14'" in shown
    assert "enables mp4 videos of rollouts" in shown
    assert "none seen (torch is built for CUDA 13.0)" in shown


def test_a_core_package_too_old_is_a_problem(monkeypatch, capsys, quick_probes):
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "1.26.4" if name == "numpy" else real(name))
    assert doctor.main([]) == 1
    assert capsys.readouterr().out.startswith(
        "problems\n  numpy is 1.26.4; >=2.0 is needed: pip install 'numpy>=2.0'\n"
    )


def test_an_extra_with_a_package_too_new_is_not_installed(monkeypatch, quick_probes):
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "4.0.0" if name == "mujoco" else real(name))
    extra = doctor.examine()["extras"]["mujoco"]
    assert extra["installed"] is False
    assert extra["problems"] == ["mujoco is 4.0.0; <3.12,>=3.3 is needed"]
    assert extra["install"].startswith("pip install 'mujoco<3.12,>=3.3' 'gymnasium-robotics")


def test_a_device_list(monkeypatch, capsys):
    gpu = {"name": "NVIDIA H200", "memory": 139 * 2**30, "capability": "9.0"}
    answer = json.dumps({"threads": 1, "built_for_cuda": "13.0", "cuda": [gpu]})
    monkeypatch.setattr(doctor, "_probe", lambda code, environment: (answer, None))
    doctor.main([])
    assert "NVIDIA H200, 139.0 GiB, capability 9.0" in capsys.readouterr().out


def test_a_torch_that_does_not_start_is_said(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_probe", lambda code, environment: (None, "ImportError: libcudart.so.12"))
    doctor.main([])
    shown = capsys.readouterr().out
    assert "torch                does not start: ImportError: libcudart.so.12" in shown
    assert "install EGL" in shown


def test_a_probe_that_hangs_or_fails_is_an_answer(monkeypatch):
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.2)
    assert doctor._probe("import time; time.sleep(20)", {}) == (None, "no answer in 0.2 s")
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 20)
    assert doctor._probe("raise ValueError('no screen')", {}) == (None, "ValueError: no screen")
    assert doctor._probe("import os; os._exit(7)", {}) == (None, "exit status 7")
    assert doctor._probe("import os; print(os.environ['MUJOCO_GL'])", {"MUJOCO_GL": "egl"}) == ("egl\n", None)


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("gymnasium_robotics", "pip install 'mujoco"),
        ("av", "pip install 'av>=14'"),
    ],
)
def test_how_to_install_a_module(module, command):
    assert (doctor.how_to_install(module) or "").startswith(command)


def test_no_extra_brings_an_unknown_module():
    assert doctor.how_to_install("demonstrably.nothing") is None
