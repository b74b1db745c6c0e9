"""The examples of the pages on tabular problems run, and print what the pages say."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
ROUNDING = re.compile(r"gap \S+|(gradient|misfit of a log-probability|constant) \d\S*e-\d+|after \d+ iterations")


def skeleton(text: str) -> tuple[str, list[float]]:
    """The words of a printed answer, and its numbers but for those that rounding decides."""
    text = ROUNDING.sub("~", text)
    return NUMBER.sub("#", text), [float(number.replace(",", "")) for number in NUMBER.findall(text)]


def printed(code: str, names: dict[str, object]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        exec(code, names)
    return stream.getvalue()


@pytest.mark.parametrize("page", ["identifiability.md", "distances.md", "max-ent-irl.md"])
def test_the_examples_print_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    examples = EXAMPLE.findall((DOCS / page).read_text())
    assert len(examples) >= 3
    for code, expected in examples:
        words, numbers = skeleton(printed(code, names))
        wanted, values = skeleton(expected)
        assert words == wanted
        assert np.allclose(numbers, values, rtol=0.02, atol=2e-3)
