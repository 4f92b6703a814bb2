"""Imports go one way, files and functions stay small, lint is clean: the rules of CONTRIBUTING.md."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOWEST = {
    "types": 0,
    "paths": 0,
    "parallelism": 0,
    "objectives": 1,
    "models": 1,
    "rewards": 1,
    "observability": 1,
}
FLOORS = LOWEST | {"observatory": 2, "data": 2, "sampler": 2, "training": 3, "evaluation": 3}
TOP = 4  # whatever else lies in entropy_rl: configuration, command line, programmes, benchmarks
JAX_FREE = {"rewards", "observability", "observatory"}  # worker processes, and tools that must start fast
JAX = {"jax", "jaxlib", "flax", "optax", "orbax", "grain"}
SOURCES = [path for top in ("entropy_rl", "pallas_kernels") for path in sorted((ROOT / top).rglob("*.py"))]
TESTS_AND_CONFIGS = [path for top in ("tests", "configs") for path in sorted((ROOT / top).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full, not relative"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part_of(path: Path) -> str:
    """The concern a file belongs to: its folder in entropy_rl, or its own name where it lies at the root."""
    return path.relative_to(ROOT).with_suffix("").parts[1]


def is_allowed(importer: str, imported: str) -> bool:
    """Own folder, a lower floor, or among the top floor's modules."""
    from_floor, to_floor = FLOORS.get(importer, TOP), FLOORS.get(imported, TOP)
    return importer == imported or to_floor < from_floor or to_floor == from_floor == TOP


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    names, part = imports(path), part_of(path)
    roots, parts = (
        {n.split(".")[0] for n in names},
        {n.split(".")[1] for n in names if n.startswith("entropy_rl.")},
    )
    if path.is_relative_to(ROOT / "pallas_kernels"):
        assert "entropy_rl" not in roots, "a kernel knows nothing of reinforcement learning"
        return
    if path == ROOT / "entropy_rl/__init__.py":
        assert not names, "the package root imports nothing, so that workers can import cheaply"
        return
    assert not {other for other in parts if not is_allowed(part, other)}, (
        f"{part} is on floor {FLOORS.get(part, TOP)}"
    )
    assert "flax" not in roots or part == "models", "flax stays under entropy_rl/models"
    assert (
        part != "objectives"
        or roots <= {"jax", "jaxtyping", "numpy", "entropy_rl", "pallas_kernels"} | sys.stdlib_module_names
    )
    assert part not in JAX_FREE or not (roots & JAX or parts - JAX_FREE), f"{part} must not load jax"


@pytest.mark.parametrize("path", SOURCES + TESTS_AND_CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400, "a file has at most 400 lines"
    functions = [
        n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [f.name for f in functions if f.end_lineno - f.lineno >= 60] == [], (
        "a function has at most 60 lines"
    )


def test_tests_of_one_name_lie_in_one_folder_that_is_no_package_at_most():
    """pytest takes a file outside packages by its name alone, and refuses the second of a name."""
    names = [path.stem for path in (ROOT / "tests").rglob("test_*.py") if not is_in_a_package(path)]
    assert sorted(names) == sorted(set(names))


def is_in_a_package(path: Path) -> bool:
    return (path.parent / "__init__.py").exists()


def test_lint_is_clean():
    checked = [
        name for name in ("entropy_rl", "pallas_kernels", "tests", "configs") if (ROOT / name).is_dir()
    ]
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *checked], cwd=ROOT, capture_output=True, text=True
    )
    assert ruff.returncode == 0, ruff.stdout + ruff.stderr


def test_requirements_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = {re.split(r"\s*#", line)[0] for line in lines} - {""}
    assert required == set(project["dependencies"] + project["optional-dependencies"]["dev"])


def test_launch_scripts_are_short():
    for script in (ROOT / "launch").glob("*.sh"):
        # Some are programs, which wait, look and start again; the others are commands written down.
        most = 150 if script.name in ("tpu_pod.sh", "tpu_slice.sh", "gpu.sh") else 40
        assert len(script.read_text().splitlines()) <= most, script.name
