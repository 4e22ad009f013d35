"""Dependencies point one way: lab, cli, grading -> cloud.server -> dialects -> engine."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "labkit"
DIALECTS = ("labkit.cloud.aws", "labkit.cloud.azure", "labkit.cloud.gcp")
#: Each layer and what of labkit it may import beside itself. The most specific name counts.
ALLOWED: dict[str, tuple[str, ...]] = {
    "labkit.errors": (),
    "labkit.cloud.http": (),
    "labkit.cloud.engine": (),
    "labkit.cloud.dialect": ("labkit.cloud.http",),
    **dict.fromkeys(DIALECTS, ("labkit.cloud.engine", "labkit.cloud.http", "labkit.cloud.dialect")),
    "labkit.cloud.gateway": ("labkit.cloud.engine", "labkit.cloud.http", "labkit.cloud.dialect", "labkit.errors"),
    "labkit.cloud": ("labkit.cloud", "labkit.errors"),
    "labkit.kernels": ("labkit.cloud", "labkit.errors"),
}
#: What the server's process must not load when it starts (it would be neither quick nor small), and the engine never.
HEAVY = {"numpy", "pandas", "scipy", "sklearn", "matplotlib", "IPython", "ipykernel", "jupyter_client", "nbformat"}
VENDORS = {"boto3", "botocore", "moto", "sagemaker", "azure", "google", "kfp", "awscli"}


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> set[str]:
    """The modules that a file imports, anywhere in it; of ``from a import b`` both ``a`` and ``a.b``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their module in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer(module: str) -> str | None:
    return max((name for name in ALLOWED if within(module, name)), key=len, default=None)


def breaches(module: str, source: str) -> list[str]:
    """What a module imports that its layer may not."""
    here = layer(module)
    if here is None:
        return []
    permitted = (here, *ALLOWED[here])
    ours = sorted(name for name in imports(ast.parse(source)) if within(name, "labkit") and name != "labkit")
    return [name for name in ours if not any(within(name, each) for each in permitted)]


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_point_one_way(file: Path) -> None:
    assert breaches(module_name(file), file.read_text()) == []


@pytest.mark.parametrize("file", sorted((PACKAGE / "cloud" / "engine").rglob("*.py")), ids=module_name)
def test_the_engine_imports_no_vendor_and_nothing_heavy(file: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(ast.parse(file.read_text()))}
    assert roots & (VENDORS | HEAVY) == set()


def test_the_rules_catch_a_breach() -> None:
    assert breaches("labkit.cloud.engine.clock", "from labkit.cloud.aws import front") == ["labkit.cloud.aws.front"]
    assert breaches("labkit.cloud.aws.front", "import labkit.cloud.azure.arm") == ["labkit.cloud.azure.arm"]
    assert breaches("labkit.cloud.aws.front", "def f():\n    from labkit.cloud import server") == [
        "labkit.cloud.server"
    ]
    assert breaches("labkit.cloud.server", "from labkit import lab") == ["labkit.lab"]
    assert breaches("labkit.cloud.aws.front", "from labkit.cloud.engine.clock import Clock") == []
    assert breaches("labkit.lab", "from labkit.cloud import client") == []


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 10
