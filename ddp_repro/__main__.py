"""``python -m ddp_repro``: the same as ``ddp-repro``, for torchrun."""

import sys

from ddp_repro.cli import main

if __name__ == "__main__":
    sys.exit(main())
