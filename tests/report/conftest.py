"""A whole run folder."""

from pathlib import Path

import pytest

from .report_folders import Shape, comparison, make_run, write_json


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two whole runs, `bc` and `bc-rnn`, compared. To be read only."""
    home = tmp_path_factory.mktemp("runs")
    make_run(home / "bc")
    make_run(home / "bc-rnn", Shape(seed=7), learner="bc-rnn", tasks=("ring", "room"))
    write_json(home / "bc" / "comparisons" / "bc_bc-rnn.json", comparison(("bc", "bc-rnn"), Shape()))
    return home
