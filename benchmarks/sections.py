"""Sections of RESULTS.md, and of the README, that programs write."""

import re
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
README = RESULTS.parent.parent / "README.md"


def write_section(name, text, path=RESULTS):
    """Replaces what stands between the section's marks, or appends it."""
    old = path.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{begin}\n\n{text}\n\n{end}"
    if begin not in old:
        path.write_text(f"{old.rstrip()}\n\n## {name}\n\n{section}\n")
        return
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    path.write_text(re.sub(pattern, lambda _: section, old, flags=re.DOTALL))
