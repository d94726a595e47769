"""Several commands of ``ddp-repro``, one after another in one process: ``python -m ddp_repro.gpu.sequence JSON``."""

from __future__ import annotations

import gc
import json
import shlex
import sys
import time
import traceback
from collections.abc import Sequence

from ddp_repro import cli


def run(commands: Sequence[Sequence[str]], keep_going: bool) -> int:
    """Run them and return the largest exit code.

    Args:
        keep_going: also after one that fails.
    """
    worst = 0
    for words in commands:
        print(f"$ ddp-repro {shlex.join(words)}", flush=True)
        started = time.perf_counter()
        code = _run(words)
        print(f"exit code {code} after {time.perf_counter() - started:.1f} s\n", flush=True)
        worst = max(worst, code)
        if code and not keep_going:
            break
    return worst


def _run(words: Sequence[str]) -> int:
    try:
        return cli.main(words)
    except SystemExit as end:  # of the parser
        return end.code if isinstance(end.code, int) else 1
    except Exception:
        traceback.print_exc(file=sys.stdout)
        return 1
    finally:
        gc.collect()  # a model of one command must not be in the memory of the next


if __name__ == "__main__":
    sys.exit(run(json.loads(sys.argv[-1]), "--keep-going" in sys.argv))
