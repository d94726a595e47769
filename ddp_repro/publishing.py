"""The command ``push``: a finished training with its model card into a repository of the hub."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from ddp_repro.settings.errors import ConfigError
from ddp_repro.store.paths import resolve
from ddp_repro.terminal import say, short

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def push(recipe: str, repo: str, card_only: bool, output: str) -> None:
    """Upload weights, settings, record and card in one commit; with ``card_only`` print the card alone."""
    if not REPOSITORY.fullmatch(repo):
        raise ConfigError(
            f"--repo {repo}: expected NAME/ID, a user or organisation and a repository, e.g. jane/streets"
        )
    folder = _run_of(recipe, output)
    from ddp_repro.interop.hub import upload_folder
    from ddp_repro.interop.weight_files import read_metadata, save_weights
    from ddp_repro.settings.overrides import to_dict
    from ddp_repro.workbook.model_card import model_card
    from ddp_repro.workbook.models import weights_in
    from ddp_repro.workbook.runs.records import load_record

    weights = folder / "model.safetensors"
    model = weights_in(weights).recipe.model.build()
    record = load_record(folder / "record.json")
    _load_scored(model, weights, record.checkpoint.sha256)
    card = model_card(record, model.eval(), repo, output)
    if card_only:
        print(card.content.rstrip())
        return
    with tempfile.TemporaryDirectory() as made:
        card.save(Path(made, "README.md"))
        Path(made, "config.json").write_text(json.dumps(to_dict(model.config), indent=2) + "\n", encoding="utf-8")
        Path(made, "record.json").write_bytes((folder / "record.json").read_bytes())
        metadata = {name: text for name, text in read_metadata(weights).items() if name in ("recipe", "classes")}
        save_weights(model, Path(made, "model.safetensors"), metadata)  # whole, also where the file holds a part
        say(f"{recipe}: {upload_folder(Path(made), repo)}")


def _run_of(name: str, output: str) -> Path:
    """Return the folder of a finished and scored training.

    Raises:
        ConfigError: there is none; says what is missing.
    """
    folders = sorted(path.parent for path in resolve(output).glob(f"*/runs/{name}/model.safetensors"))
    if not folders:
        raise ConfigError(f"{name} has no finished weights in {short(resolve(output))}: run `ddp-repro train {name}`")
    if not (folders[0] / "record.json").is_file():
        raise ConfigError(f"{name} has no scores yet, which its card needs: run `ddp-repro evaluate {name}`")
    return folders[0]


def _load_scored(model, weights: Path, scored: str) -> None:
    """Load weights, and refuse those that a record does not score.

    Raises:
        ConfigError: they are others.
    """
    import hashlib

    from ddp_repro.interop import load_checkpoint
    from ddp_repro.networks.identity import weights_hash

    load_checkpoint(model, weights)
    if scored not in (weights_hash(model.state_dict()), hashlib.sha256(weights.read_bytes()).hexdigest()):
        raise ConfigError(f"{short(weights)} are not the weights of record.json beside it: evaluate them again")
