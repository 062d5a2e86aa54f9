"""Sections of RESULTS.md that programs write."""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent


def write_section(name, text):
    """Replaces what stands between the section's marks in RESULTS.md, or appends it."""
    path = HERE / "RESULTS.md"
    old = path.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{begin}\n\n{text}\n\n{end}"
    if begin not in old:
        path.write_text(f"{old.rstrip()}\n\n## {name}\n\n{section}\n")
        return
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    path.write_text(re.sub(pattern, lambda _: section, old, flags=re.DOTALL))
