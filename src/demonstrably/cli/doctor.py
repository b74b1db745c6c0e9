"""`demonstrably doctor`: what is installed, what the machine can do, what each missing extra would enable."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from demonstrably.cli import parse

# Extras that a user installs for what they enable; `dev`, `docs` and `all` are for other ends.
ENABLES = {
    "mujoco": "the MuJoCo environments of Gymnasium and Gymnasium-Robotics, and rendering them",
    "video": "mp4 videos of rollouts",
    "decisions": "posteriors from features, fairness metrics, and the Bayesian threshold tests in audits of decisions",
}
# For `demonstrably demo`, without what they ask for besides: of one only the rules are used, of the other the data.
OVERCOOKED = [Requirement("overcooked>=0.2.1"), Requirement("overcooked-ai==1.1.0")]
# Modules whose import name is not the name of the distribution.
DISTRIBUTION_OF_MODULE = {"gymnasium_robotics": "gymnasium-robotics", "sklearn": "scikit-learn"}
PROBE_SECONDS = 60

# Each probe runs in a process of its own: a broken driver may hang or crash it.
TORCH_PROBE = """
import json, torch
cuda = []
for i in range(torch.cuda.device_count()):
    p = torch.cuda.get_device_properties(i)
    cuda.append({"name": p.name, "memory": p.total_memory, "capability": f"{p.major}.{p.minor}"})
print(json.dumps({"threads": torch.get_num_threads(), "built_for_cuda": torch.version.cuda, "cuda": cuda}))
"""
RENDER_PROBE = """
import mujoco
context = mujoco.GLContext(64, 64)
context.make_current()
context.free()
"""


@dataclass(frozen=True)
class Options:
    """Versions, device, memory, rendering, and what each missing extra would enable."""

    json: bool = False
    """Print one JSON document."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings. Exit status 1 where a package that is always needed is missing or too old."""
    options = parse(Options, arguments, prog="demonstrably doctor")
    findings = examine()
    print(json.dumps(findings, indent=2) if options.json else _text(findings))
    return 1 if findings["problems"] else 0


def examine() -> dict[str, Any]:
    """All that doctor finds, as plain JSON values. Memory is in bytes."""
    with ThreadPoolExecutor() as pool:
        torch = pool.submit(_probe, TORCH_PROBE, {})
        rendering = {name: pool.submit(_renders, name) for name in ("egl", "osmesa")}
        requirements = _requirements()
        core = [r for r in requirements if r.marker is None]
        return {
            "problems": [f"{problem}: {_pip([r])}" for r in core if (problem := _problem(r))],
            "versions": _versions(requirements),
            "device": _processor() | _torch_device(*torch.result()),
            "memory": _memory(),
            "rendering": {"MUJOCO_GL": os.environ.get("MUJOCO_GL")}
            | {name: result.result() for name, result in rendering.items()},
            "extras": {name: _extra(name, requirements) for name in ENABLES} | {"overcooked": _overcooked()},
        }


def how_to_install(module: str) -> str | None:
    """The command that installs what a missing module belongs to, or None where no extra brings it."""
    top = module.split(".")[0]
    distribution = DISTRIBUTION_OF_MODULE.get(top, top)
    of_extras = [_of_extra(extra, _requirements()) for extra in ENABLES]
    return next((_pip(e) for e in of_extras if distribution in {r.name.lower() for r in e}), None)


def _requirements() -> list[Requirement]:
    return [Requirement(line) for line in metadata.requires("demonstrably") or []]


def _pip(requirements: list[Requirement]) -> str:
    """By the packages' own names, which works however this one was installed."""
    return "pip install " + " ".join(f"'{r.name}{r.specifier}'" for r in requirements)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _versions(requirements: list[Requirement]) -> dict[str, str | None]:
    """Of Python, this package, and all that it may need; None marks what is not installed."""
    user = [r for r in requirements if r.marker is None or any(_wanted_by(r, extra) for extra in ENABLES)]
    own = {"demonstrably": _version("demonstrably"), "python": platform.python_version()}
    return own | {r.name: _version(r.name) for r in user}


def _problem(requirement: Requirement) -> str | None:
    """What is wrong with a package as it is installed; None where nothing is."""
    version = _version(requirement.name)
    if version is None:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} is {version}; {requirement.specifier} is needed"
    return None


def _wanted_by(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _of_extra(extra: str, requirements: list[Requirement]) -> list[Requirement]:
    return [r for r in requirements if _wanted_by(r, extra)]


def _extra(name: str, requirements: list[Requirement]) -> dict[str, Any]:
    wanted = _of_extra(name, requirements)
    problems = [problem for r in wanted if (problem := _problem(r))]
    return {
        "installed": not problems,
        "enables": ENABLES[name],
        "problems": problems,
        "install": _pip(wanted),
    }


def _overcooked() -> dict[str, Any]:
    problems = [problem for r in OVERCOOKED if (problem := _problem(r))]
    return {
        "installed": not problems,
        "enables": "the Overcooked environment and `demonstrably demo`",
        "problems": problems,
        "install": _pip(OVERCOOKED).replace("install", "install --no-deps"),
    }


def _processor() -> dict[str, Any]:
    """Model, cores that this process may use, and its instructions for bfloat16 (None: not known)."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    model, bfloat16 = platform.processor() or platform.machine(), None
    if sys.platform == "linux":
        text = Path("/proc/cpuinfo").read_text()
        names = re.findall(r"^model name\s*: (.+)$", text, re.MULTILINE)
        flags = set(
            re.findall(r"\S+", " ".join(re.findall(r"^(?:flags|Features)\s*: (.+)$", text, re.MULTILINE)))
        )
        model = names[0] if names else model
        bfloat16 = sorted(flags & {"avx512_bf16", "amx_bf16", "bf16"})
    return {"processor": model, "cores": cores, "bfloat16": bfloat16}


def _torch_device(found: str | None, failure: str | None) -> dict[str, Any]:
    if found is None:
        return {"threads": None, "built_for_cuda": None, "cuda": [], "torch": failure}
    return json.loads(found)


def _memory() -> dict[str, int | None]:
    """Bytes of memory of the machine, and of these what is available now."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    available = None
    if sys.platform == "linux":
        kilobytes = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
        available = int(kilobytes[1]) * 1024 if kilobytes else None
    return {"total": total, "available": available}


def _renders(library: str) -> dict[str, Any]:
    """Whether MuJoCo makes an off-screen context with `MUJOCO_GL=library`, and if not, why."""
    if _version("mujoco") is None:
        return {"works": None, "message": "not tried: mujoco is not installed"}
    _, failure = _probe(RENDER_PROBE, {"MUJOCO_GL": library})
    return {"works": failure is None, "message": failure}


def _probe(code: str, environment: dict[str, str]) -> tuple[str | None, str | None]:
    """Run Python code in a process of its own: (its output, None), or (None, why it failed)."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer in {PROBE_SECONDS} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return None, lines[-1]
    return done.stdout, None


def _text(findings: dict[str, Any]) -> str:
    sections = {
        "problems": findings["problems"],
        "versions": [
            f"{name:20} {version or 'not installed'}" for name, version in findings["versions"].items()
        ],
        "device": _device_lines(findings["device"], findings["memory"]),
        "rendering": _rendering_lines(findings["rendering"]),
        "extras": [line for name, extra in findings["extras"].items() for line in _extra_lines(name, extra)],
    }
    return "\n\n".join(
        "\n".join([title, *(f"  {line}" for line in lines)]) for title, lines in sections.items() if lines
    )


def _device_lines(device: dict[str, Any], memory: dict[str, int | None]) -> list[str]:
    bfloat16 = (
        "not known" if device["bfloat16"] is None else ", ".join(device["bfloat16"]) or "not in hardware"
    )
    available = "" if memory["available"] is None else f", {_gib(memory['available'])} available"
    cuda = [f"{gpu['name']}, {_gib(gpu['memory'])}, capability {gpu['capability']}" for gpu in device["cuda"]]
    none = (
        f"none seen (torch is built for CUDA {device['built_for_cuda']})"
        if device["built_for_cuda"]
        else ("none (torch is built without CUDA)")
    )
    lines = [
        f"{'processor':20} {device['processor']}",
        f"{'cores':20} {device['cores']}, torch uses {device['threads']} threads",
        f"{'bfloat16':20} {bfloat16}",
        f"{'memory':20} {_gib(memory['total'])}{available}",
    ]
    if "torch" in device:
        return [*lines, f"{'torch':20} does not start: {device['torch']}"]
    return lines + [f"{'CUDA':20} {line}" for line in cuda or [none]]


def _rendering_lines(rendering: dict[str, Any]) -> list[str]:
    lines = [f"{'MUJOCO_GL':20} {rendering['MUJOCO_GL'] or 'not set'}"]
    for name in ("egl", "osmesa"):
        works, message = rendering[name]["works"], rendering[name]["message"]
        state = "works" if works else f"does not work: {message}" if works is False else message
        lines.append(f"{name:20} {state}")
    working = [name for name in ("egl", "osmesa") if rendering[name]["works"]]
    if rendering["MUJOCO_GL"] is None and working:
        lines.append(f"To render without a screen, set MUJOCO_GL={working[0]}.")
    if rendering["egl"]["works"] is False and not working:
        lines.append("To render without a screen, install EGL (Debian: apt-get install libegl1 libgl1).")
    return lines


def _extra_lines(name: str, extra: dict[str, Any]) -> list[str]:
    state = "installed" if extra["installed"] else f"missing: {extra['install']}"
    return [
        f"{name:20} {state}",
        *(f"{'':20} {p}" for p in extra["problems"]),
        f"{'':20} enables {extra['enables']}",
    ]


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"
