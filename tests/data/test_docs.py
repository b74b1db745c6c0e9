"""The examples of the page on demonstrations run."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_examples_run(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    making = next(block for block in blocks if "from_arrays" in block)
    assert len(blocks) == 6
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec("import demonstrably\n" + making, names)  # the file that the page begins with
    for block in blocks:
        exec(block, names)


def test_every_kind_of_finding_is_explained():
    sources = Path(__file__).parents[2] / "src" / "demonstrably" / "data"
    text = "\n".join(path.read_text() for path in sources.rglob("*.py"))
    kinds = set(re.findall(r'Finding\(\s*"(?:error|warning|note)",\s*f?"([a-z{}-]+)"', text))
    assert len(kinds) > 25
    page = PAGE.read_text()
    for kind in kinds:
        for name in [kind.replace("{end}", end).replace("{kind}", end) for end in ("start", "terminated")]:
            if "{" not in kind or name in ("idle-start", "early-terminated"):
                assert f"`{name}`" in page, name
