"""Breaks the rotary layout of the Hub package in the given file: halves are turned instead of neighbouring pairs."""

import sys
from pathlib import Path

RIGHT = "return torch.stack((-states[..., 1::2], states[..., 0::2]), dim=-1).flatten(-2)"
WRONG = "return torch.cat((-states.chunk(2, dim=-1)[1], states.chunk(2, dim=-1)[0]), dim=-1)"

file = Path(sys.argv[1])
text = file.read_text()
if text.count(RIGHT) != 1:
    sys.exit(f"{file}: there is no such line; has the rotary code changed?")
file.write_text(text.replace(RIGHT, WRONG))
