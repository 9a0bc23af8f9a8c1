"""Where things are."""
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
ROOT = BENCH.parent
WORK = ROOT / "build" / "bench"
APPS = BENCH / "apps"
