"""Where things are and which broker is tested: everything the environment decides, read once."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKOUT = ROOT.parent

#: `ottla` (default) or `kafka`: the broker under test.
TARGET = os.environ.get("TARGET", "ottla")
if TARGET not in ("ottla", "kafka"):
    raise SystemExit(f"TARGET={TARGET!r}: expected ottla or kafka")

#: Jars, virtual environment, node modules and compiled Java live here, never in the checkout.
CACHE = Path(
    os.environ.get("OTTLA_COMPAT_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ottla-compat"
)

#: The binary under test.
OTTLA_BIN = Path(
    os.environ.get("OTTLA_BIN")
    or Path(os.environ.get("CARGO_TARGET_DIR") or CHECKOUT / "target") / "release" / "ottla"
)

KAFKA_BROKER_VERSION = "4.4.0"
KAFKA_TOOLS_VERSION = "4.3.1"

#: First and last port brokers may listen on.
PORTS = tuple(int(p) for p in os.environ.get("COMPAT_PORTS", "27000-31999").split("-"))

#: How long anything that will certainly happen may take. It bounds a hanging test and is never the thing measured:
#: a slow machine makes tests slow, not red.
PATIENCE = float(os.environ.get("COMPAT_PATIENCE", "60"))
