"""Puts the toy environments and policies beside this file where tests and worker processes find them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
