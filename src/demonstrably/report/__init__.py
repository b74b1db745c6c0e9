"""The report: what a run, or several, found, in one HTML file.

`write(runs, out)` is all that callers need. The figures are SVG drawn here; reading it fetches nothing.
"""

from demonstrably.report.html import write

__all__ = ["write"]
