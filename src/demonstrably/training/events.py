"""Metrics for TensorBoard, by its own writer."""

from collections.abc import Mapping, Sequence
from pathlib import Path


class Events:
    """One curve a metric and member. The writer is imported at the first write: it is slow to."""

    def __init__(self, folder: Path, step: int):
        self.folder, self.step = folder, step
        self.writer = None

    def write(self, step: int, metrics: Mapping[str, Sequence[float]]) -> None:
        """Adds a point to every curve; points after the step it was resumed at are hidden."""
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder), purge_step=self.step + 1 if self.step else None)
        for name, values in metrics.items():
            for member, value in enumerate(values):
                self.writer.add_scalar(f"{name}/member_{member}", value, step)

    def close(self) -> None:
        """Flushes what is left."""
        if self.writer is not None:
            self.writer.close()
