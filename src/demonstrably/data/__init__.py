"""Evidence: demonstrations as columns, the files they come from, and what is wrong with them."""

from demonstrably.data.demonstrations import Demonstrations, Episode
from demonstrably.data.findings import inspect
from demonstrably.data.formats import FileError, load, save
from demonstrably.data.notes import Finding, Findings

__all__ = ["Demonstrations", "Episode", "FileError", "Finding", "Findings", "inspect", "load", "save"]
