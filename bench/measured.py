"""Runs a command, and writes how long it took and how much memory it had at most: `measured.py FIGURES COMMAND...`. A small process of
its own, because the system counts what a process has when it starts another as what the other had.
"""

import os
import sys
import time
from pathlib import Path

figures, *command = sys.argv[1:]
begun = time.monotonic()
process = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(process, 0)
Path(figures).write_text(f"{time.monotonic() - begun} {usage.ru_maxrss / 1024}")
sys.exit(0 if status == 0 else 1)
