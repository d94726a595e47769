"""What became of the parts: ``results/gpu/summary.json``, from which the next call goes on, and ``summary.md``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from ddp_repro.gpu.part import Outcome, Part
from ddp_repro.store.atomic import write_atomically
from ddp_repro.workbook.runs import provenance

SCHEMA = 1
MISTAKES = ("failed", "over its limit")


@dataclass
class Summary:
    """Outcomes by the parts' names, on disk after every change.

    Attributes:
        folder: of the two files.
        environment: of this call; an outcome from another GPU does not count as done.
    """

    folder: Path
    environment: provenance.Environment
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, environment: provenance.Environment, again: bool = False) -> Summary:
        """Return what is on disk; nothing, where there is none, it is of another version, or ``again`` is asked for."""
        path, outcomes = folder / "summary.json", {}
        if path.is_file() and not again:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.get("schema") == SCHEMA:
                outcomes = {name: Outcome(**values) for name, values in content["parts"].items()}
        return cls(folder, environment, outcomes)

    @property
    def paths(self) -> tuple[Path, Path]:
        """The two files."""
        return self.folder / "summary.md", self.folder / "summary.json"

    @property
    def failed(self) -> bool:
        """Whether a part failed, or took too long."""
        return any(outcome.status in MISTAKES for outcome in self.outcomes.values())

    def is_done(self, part: Part) -> bool:
        """Whether the same program was finished on such a GPU before."""
        before = self.outcomes.get(part.name)
        same = before and (before.identity, before.gpu) == (part.identity, self.environment.gpu)
        return bool(before and same and before.status == "done")

    def expected_seconds(self, part: Part) -> float:
        """Return the longest that a part of its kind has taken on such a GPU, else what the part itself says."""
        same = [
            outcome.seconds
            for outcome in self.outcomes.values()
            if outcome.status == "done" and outcome.kind == part.kind != "" and outcome.gpu == self.environment.gpu
        ]
        return max(same, default=part.seconds)

    def keep(self, part: Part, outcome: Outcome) -> None:
        """Write down what became of a part."""
        self.outcomes[part.name] = outcome
        content = {
            "schema": SCHEMA,
            "code": dataclasses.asdict(provenance.code()),
            "environment": dataclasses.asdict(self.environment),
            "parts": {name: dataclasses.asdict(each) for name, each in self.outcomes.items()},
        }
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.folder / "summary.json", text.encode())
        write_atomically(self.folder / "summary.md", self.to_markdown().encode())

    def to_markdown(self) -> str:
        """Return a table of the parts, and their numbers and notes below."""
        where = self.environment.gpu or f"no GPU, on {self.environment.cpu}"
        lines = [f"### Parts, {where}, torch {self.environment.packages['torch']}", ""]
        lines += ["| part | status | seconds |", "| --- | --- | --- |"]
        lines += [f"| {name} | {each.status} | {each.seconds:.0f} |" for name, each in self.outcomes.items()]
        for name, each in self.outcomes.items():
            if each.numbers or each.note:
                lines += ["", f"**{name}**", ""]
                lines += [f"- {what}: {number}" for what, number in each.numbers.items()]
            if each.note:
                first, *rest = each.note.splitlines()
                lines += [f"- {each.status}: {first}", *(["", "```", *rest, "```"] if rest else [])]
        return "\n".join(lines) + "\n"
