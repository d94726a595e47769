"""A command that cannot work says so in one line and leaves nothing behind that the right one would stumble over."""

from pathlib import Path

import pytest
from workbook.tiny import OVERRIDES, write_data

from ddp_repro import cli

NAME, ALIGNED = "cityscapes_mini", "cityscapes_mini_aligned"
WRONG = [
    "model.heads=5", "model.channels=0", "model.channels=3", "model.layers=0", "model.time_difference=-1",
    "model.backbone=resnet_of_dreams", "model.window_size=7", "model.num_classes=7", "model.task=depth",
    "data.crop_size=0,0", "data.dataset=camvid", "data.train_split=nowhere", "train.batch_size=3",
    "train.learning_rate=inf", "train.curve=one_cycle", "train.self_aligned=same_noise model.diffusion=false",
    "train.mixed_precision=fp16", "train.backbone_weights=pypi", "train.backbone_weights=no/such.file",
    "train.initialize_from=no/such.safetensors", "train.initialize_from=no_such_recipe", "train.seed=-1",
    "train.validate_every=1 data.eval_split=nowhere", "name=../elsewhere",
]  # fmt: skip
WRONG_EVALUATIONS = [
    "evaluation.steps=0", "evaluation.seeds=1,1", "evaluation.weights=best", "evaluation.compile=cuda_graphs",
    "data.eval_split=nowhere", "model.num_classes=7", "--checkpoint=no/such.file", "evaluation.limit=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data("cityscapes", tmp_path_factory.mktemp("data") / "cityscapes")


def command(data: Path, output: Path, *words: str, name: str = NAME, verb: str = "train") -> int:
    given = [word for word in OVERRIDES if word.partition("=")[0] not in {w.partition("=")[0] for w in words}]
    return cli.main([verb, name, *given, f"data.root={data}", "--output", str(output), *words])


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_training_leaves_nothing(words: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert command(data, tmp_path / "results", *words.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ddp-repro: error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("words", [*WRONG_EVALUATIONS, ""])
def test_a_wrong_evaluation_leaves_nothing(words: str, data: Path, tmp_path: Path) -> None:
    """The last one, without a mistake in its settings, has no weights to evaluate."""
    assert command(data, tmp_path / "results", *words.split(), verb="evaluate") == 2
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_second_stage_is_refused_before_the_first_is_trained(data: Path, tmp_path: Path) -> None:
    assert command(data, tmp_path / "results", name=ALIGNED) == 2  # OVERRIDES make it unlike its first stage
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_gpu")
def test_the_right_command_works_after_wrong_ones(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "results"
    for words in WRONG:
        assert command(data, output, *words.split()) == 2
    assert command(data, output) == 0
    assert command(data, output, verb="evaluate") == 0
    folder = output / "mini" / "runs" / NAME
    assert {"model.safetensors", "training.json", "record.json"} <= {path.name for path in folder.iterdir()}

    before = files(output)
    for words in (*WRONG, *(f"{words} --overwrite" for words in WRONG)):
        assert command(data, output, *words.split()) == 2
    for words in WRONG_EVALUATIONS:
        assert command(data, output, *words.split(), "--overwrite", verb="evaluate") == 2
    assert files(output) == before
    assert command(data, output) == 0
    assert files(output) == before


def test_wrong_table_settings_leave_nothing(tmp_path: Path) -> None:
    from ddp_repro.settings.errors import ConfigError
    from ddp_repro.workbook.runs.run import run_table

    with pytest.raises(ConfigError, match=r"channels \(64\) must be a multiple of heads \(5\)"):
        run_table("ddp_table2", "mini", overrides=["model.heads=5"], output=tmp_path / "results")
    assert list(tmp_path.iterdir()) == []
