"""The examples of the package's README."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from conftest import python

TREE = Path(__file__).parent.parent.parent
EXAMPLES = TREE / "client-lib" / "python" / "README.md"


def examples(heading: str) -> list[str]:
    """The Python code blocks under a heading."""
    section = re.split(r"^#+ ", EXAMPLES.read_text(), flags=re.M)
    [text] = [each for each in section if each.split("\n", 1)[0].lower() == heading]
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)


def run(code: str, directory: Path) -> str:
    """Runs code as a script of its own and returns its output."""
    script = directory / "bot.py"
    script.write_text(code)
    done = subprocess.run(python(str(script)), cwd=directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
