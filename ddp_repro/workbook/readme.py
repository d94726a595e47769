"""What README says of claims and of the papers' items: generated from the records, between marks."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.catalogue import paper_named, paper_names
from ddp_repro.workbook.claims.sentences import sentences
from ddp_repro.workbook.papers_map import short_form
from ddp_repro.workbook.runs.records import write_atomically
from ddp_repro.workbook.tables.fast_paths import fast_path_lines

COMMITTED = ("camvid", "sevenscenes", "kitti_lidar", "small")  # presets whose records are in the repository
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def generated(notebooks: Path, output: str | Path = "results") -> dict[str, str]:
    """Return the generated parts by name.

    There are ``papers``, ``fast_paths``, and ``claims_<paper>_<preset>`` where a paper asks something.

    Raises:
        ConfigError: a notebook that cannot be read.
        RecordError: a damaged record.
    """
    parts = {"papers": short_form(notebooks, COMMITTED, output), "fast_paths": fast_path_lines(output)}
    for preset, paper in itertools.product(COMMITTED, map(paper_named, paper_names())):
        if questions := paper.claims(preset):
            parts[f"claims_{paper.name}_{preset}"] = sentences(questions, paper.evidence(preset, output))
    return {name: "\n".join(lines) + "\n" for name, lines in parts.items()}


def with_generated(text: str, parts: dict[str, str]) -> str:
    """Return the text with what stands between its marks replaced.

    Raises:
        ConfigError: a part has no marks in the text, or marks have no part.
    """
    marked = [match[2] for match in PART.finditer(text)]
    if sorted(marked) != sorted(parts):
        raise ConfigError(
            f"generated parts are {', '.join(parts)}; the text has marks for {', '.join(marked) or 'none'}"
        )
    return PART.sub(lambda match: match[1] + parts[match[2]] + match[3], text)


def update_readme(readme: Path, output: str | Path = "results") -> None:
    """Write README's generated parts anew.

    Raises:
        ConfigError, RecordError: as :func:`generated` and :func:`with_generated`.
        OSError: the file cannot be read or written.
    """
    text = readme.read_text(encoding="utf-8")
    write_atomically(readme, with_generated(text, generated(readme.parent / "notebooks", output)).encode())
