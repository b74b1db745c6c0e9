"""When to end a training that no longer gets better, read off the run folder, so that a resumed run decides alike."""

from dataclasses import dataclass

import pyarrow.compute as pc

from demonstrably.training.run import Run


@dataclass(frozen=True)
class Watch:
    """Looks at the validation loss (less is better), or at success or return in rollouts while training.

    A population goes on while any member improves, and where learning goes `ahead` of its own experience by some
    updates, for `patience` checkpoints after those.
    """

    what: str
    patience: int
    run: Run
    ahead: int = 0

    def over(self) -> bool:
        """Whether no member's best is among its last `patience` checkpoints."""
        curves = self._curves()
        return bool(curves) and all(self._waited(curve) >= self.patience for curve in curves)

    def _waited(self, curve: dict[int, float]) -> int:
        """Checkpoints since the first that is best, of those that own experience could have made better."""
        since = max(max(curve, key=lambda step: curve[step]), self.ahead)
        return sum(step > since for step in curve)

    def _curves(self) -> list[dict[int, float]]:
        """One curve a member, by checkpoint in their order; more is better."""
        if self.what == "validation-loss":
            lines = {line["step"]: line["validation_loss"] for line in self.run.metrics() if "validation_loss" in line}
            members = range(len(next(iter(lines.values()), [])))
            return [{step: -losses[member] for step, losses in lines.items()} for member in members]
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
        return [{row["checkpoint"]: row[mean] for row in rows if row["member"] == m} for m in members]
