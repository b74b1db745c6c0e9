"""`import demonstrably` is cheap, and its public names are what they say."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import demonstrably

HEAVY = {"torch", "numpy", "gymnasium", "h5py", "pyarrow", "tyro", "rich", "scipy", "jaxtyping"}


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_loads_nothing_heavy():
    assert not loaded_by("import demonstrably") & HEAVY


def test_help_loads_nothing_heavy():
    loaded = loaded_by("from demonstrably.cli.main import main\nmain(['--help'])")
    assert not loaded & HEAVY


def test_data_tools_run_without_torch():
    assert "torch" not in loaded_by(
        "from demonstrably import load, save, inspect, Demonstrations, Episode, Spec"
    )


@pytest.mark.parametrize("name", demonstrably.__all__)
def test_public_name_is_itself(name):
    value = vars(demonstrably).get(name) or demonstrably.__getattr__(name)
    assert value.__name__ == name
    assert value.__doc__
    assert vars(demonstrably)[name] is value


def test_editors_see_every_public_name():
    """The TYPE_CHECKING block, the table of homes and __all__ say the same."""
    tree = ast.parse(Path(demonstrably.__file__).read_text())
    imports = [
        (alias.name, node.module)
        for block in ast.walk(tree)
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    homes = {name: f"demonstrably.{home}" for name, home in demonstrably._HOME.items()}
    assert dict(imports) == homes
    assert demonstrably.__all__ == sorted(homes)
    assert set(demonstrably.__all__) <= set(dir(demonstrably))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        demonstrably.lode  # noqa: B018
