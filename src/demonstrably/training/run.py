"""A run folder: everything a run is and has produced, in files that other tools read too."""

import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from demonstrably.learners.contract import Policy
from demonstrably.spec import Spec
from demonstrably.training import checkpoints
from demonstrably.training.files import read_json, replacing, write_json, writing

CONFIG, METRICS, EVALUATIONS, CHECKPOINTS = "config.json", "metrics.jsonl", "evaluations.parquet", "checkpoints"

# One row an episode played.
EPISODES = pa.schema(
    [
        ("checkpoint", pa.int64()),
        ("member", pa.int64()),
        ("seed", pa.int64()),
        ("return", pa.float64()),
        ("success", pa.bool_()),  # null where the environment gives no signal
        ("length", pa.int64()),
        ("task", pa.string()),
        ("purpose", pa.string()),  # train, evaluate, select, confirm or compare
        ("round", pa.int64()),  # of a selection
    ]
)


class Run:
    """An existing run folder. ValueError where the folder is none."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not (self.path / CONFIG).is_file():
            near = [p.parent for p in self.path.parent.glob(f"*/{CONFIG}")] if self.path.parent.is_dir() else []
            hint = f"; runs beside it: {', '.join(str(p) for p in sorted(near)[:5])}" if near else ""
            raise ValueError(f"{self.path} is not a run folder: it holds no {CONFIG}{hint}")

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any]) -> "Run":
        """A new run folder. ValueError where a run is there already."""
        path = Path(path)
        if (path / CONFIG).exists():
            advice = "give --resume to go on with it, or another --out"
            if not cls(path).checkpoints:
                advice += "; it has no checkpoint yet, so that nothing is lost if you remove the folder"
            raise ValueError(f"{path} holds a run already: {advice}")
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is a file: give a folder for the run")
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / CONFIG, dict(config))
        return cls(path)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json."""
        return read_json(self.path / CONFIG)

    @property
    def spec(self) -> Spec:
        """What the run's policies observe and do."""
        return Spec.from_dict(self.config["spec"])

    @property
    def members(self) -> int:
        """Members of the population."""
        return self.config["members"]

    @property
    def checkpoints(self) -> list[int]:
        """Steps of the whole checkpoints, ascending."""
        folder = self.path / CHECKPOINTS
        found = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        return sorted(int(name) for name in found if re.fullmatch(r"\d{6,}", name))

    def checkpoint(self, step: int) -> Path:
        """Folder of a checkpoint, there or not."""
        return self.path / CHECKPOINTS / f"{step:06d}"

    def trained(self) -> list[int]:
        """Steps of the whole checkpoints. ValueError where there is none yet."""
        if steps := self.checkpoints:
            return steps
        raise ValueError(f"{self.path} has no checkpoint yet: train it, with --resume if it was interrupted")

    def chosen(self, checkpoint: int | None = None) -> int:
        """A checkpoint's step, by default the last one's. ValueError names the checkpoints there are."""
        steps = self.trained()
        if checkpoint is not None and checkpoint not in steps:
            raise ValueError(f"{self.path} has no checkpoint {checkpoint}: it has {', '.join(map(str, steps))}")
        return steps[-1] if checkpoint is None else checkpoint

    def policy(self, checkpoint: int | None = None, device: str = "cpu") -> Policy:
        """All members at a checkpoint, by default the last. ValueError names the checkpoints there are."""
        return checkpoints.load_policy(self.checkpoint(self.chosen(checkpoint)), device)

    def metrics(self) -> list[dict[str, Any]]:
        """metrics.jsonl, a line that was cut short left out. ValueError names a line that is broken otherwise."""
        path = self.path / METRICS
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        try:
            return [json.loads(line) for line in lines]
        except ValueError as error:
            raise ValueError(f"{path} holds a line that is not valid JSON ({error}): remove it") from error

    def rewind(self, step: int) -> None:
        """Forgets logged metrics after a step, so that a resumed run logs as an uninterrupted one."""
        kept = [json.dumps(line) + "\n" for line in self.metrics() if line["step"] <= step]
        with replacing(self.path / METRICS) as temporary:
            temporary.write_text("".join(kept))

    def log(self, line: Mapping[str, Any]) -> None:
        """Appends a line to metrics.jsonl."""
        path = self.path / METRICS
        with writing(path, "the run can be resumed"), path.open("a") as file:
            file.write(json.dumps(dict(line)) + "\n")

    def evaluations(self) -> pa.Table:
        """evaluations.parquet, empty where nothing was played."""
        path = self.path / EVALUATIONS
        if not path.exists():
            return EPISODES.empty_table()
        try:
            return pq.read_table(path)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path} cannot be read ({error}): move it away to play again") from error

    def append_evaluations(self, table: pa.Table) -> None:
        """Adds episodes; columns that are absent become null."""
        columns = {
            field.name: table.column(field.name).cast(field.type)
            if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)
            for field in EPISODES
        }
        with replacing(self.path / EVALUATIONS) as temporary:
            pq.write_table(pa.concat_tables([self.evaluations(), pa.table(columns, EPISODES)]), temporary)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the folder, None where it is absent."""
        path = self.path / name
        return read_json(path) if path.exists() else None

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Writes a JSON file of the folder, whole or not at all."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path / name, dict(values))
