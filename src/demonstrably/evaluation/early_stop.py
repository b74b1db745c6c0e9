"""When to end a training that no longer gets better, read off the run folder, so that a resumed run decides alike."""

from dataclasses import dataclass

import pyarrow.compute as pc

from demonstrably.training.run import Run


@dataclass(frozen=True)
class Watch:
    """Looks at the validation loss (less is better), or at success or return in rollouts while training.

    A population goes on while any member improves.
    """

    what: str
    patience: int
    run: Run

    def over(self) -> bool:
        """Whether no member's best is among its last `patience` checkpoints."""
        curves = self._curves()
        return bool(curves) and all(len(c) - 1 - c.index(max(c)) >= self.patience for c in curves)

    def _curves(self) -> list[list[float]]:
        """One curve a member over the checkpoints, more is better."""
        if self.what == "validation-loss":
            lines = [line["validation_loss"] for line in self.run.metrics() if "validation_loss" in line]
            return [[-value for value in curve] for curve in zip(*lines, strict=True)]
        table = self.run.evaluations().filter(pc.field("purpose") == "train")
        grouped = table.group_by(["member", "checkpoint"]).aggregate([(self.what, "mean")])
        rows = sorted(grouped.to_pylist(), key=lambda row: (row["member"], row["checkpoint"]))
        mean = f"{self.what}_mean"
        if any(row[mean] is None for row in rows):
            raise ValueError(
                "the environment gives no success signal to stop early by: use --stop-early return, or say what "
                'success is, such as --success "return >= 475"'
            )
        members = sorted({row["member"] for row in rows})
        return [[row[mean] for row in rows if row["member"] == m] for m in members]
