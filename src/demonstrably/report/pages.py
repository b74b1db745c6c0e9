"""A page out of its sections, and the file that it becomes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

import demonstrably
from demonstrably.training.files import replacing

from .blocks import ENVIRONMENT, TEMPLATES, Section


def rendered(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole page: it holds all that it shows."""
    written = f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by demonstrably {demonstrably.__version__}."
    return ENVIRONMENT.get_template("page.html").render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        footer=f"{written} Everything is in this one file.",
        style=Markup((TEMPLATES / "style.css").read_text()),
        script=Markup((TEMPLATES / "script.js").read_text()),
    )


def kept(text: str, out: str | Path) -> Path:
    """Writes a page: the file is replaced as a whole, or not at all. Raises OSError where it cannot be written."""
    target = Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target
