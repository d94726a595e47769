"""The benchmark's records, verdicts and figures, from made-up timings."""

import dataclasses
import itertools

import pytest
from workbook.fakes import make_record

from ddp_repro.cli import main
from ddp_repro.costs.size import parse_size
from ddp_repro.papers.ddp.costs import records as bench_records
from ddp_repro.papers.ddp.costs.bench import STAGES, Measurement, Setting, Timing
from ddp_repro.papers.ddp.costs.records import BenchRecord, find_benches, report, run_bench, targets
from ddp_repro.papers.ddp.figures import speed as bench_figures
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.runs import provenance

SECONDS = {
    "encoder": 1.0, "neck": 0.5, "fusion": 0.1, "step": 1.2, "upsampling": 0.1, "encoder floor": 0.8,
    "neck floor": 0.4, "fusion floor": 0.1, "step floor": 1.0, "1 steps": 3.0, "3 steps": 5.0, "step, published": 3.0,
    "1 steps, published": 4.5, "3 steps, published": 10.0, "training": 8.0, "training, published": 10.0,
}  # fmt: skip
PEAKS = {"3 steps": 2**28, "3 steps, published": 2**29, "training": 2**30, "training, published": 2**29}
TINY = Recipe(name="tiny", model=ModelConfig(backbone="resnet10t", drop_path_rate=0.0, channels=16, layers=1, heads=2,
                                             feedforward_channels=32, num_classes=5))  # fmt: skip


def made_up(size: tuple[int, int] = (512, 512), **changes: float) -> BenchRecord:
    scale = size[0] * size[1] / 512**2
    seconds = {name: scale * value for name, value in (SECONDS | changes).items()}
    timings = tuple(Timing(name=n, seconds=(s, s, s), median=s, quartiles=(s, s)) for n, s in seconds.items())
    return BenchRecord(
        recipe="tiny", setting=Setting(size=size), peak_bytes=PEAKS, wall_seconds=1.0,
        measurement=Measurement(clock="wall", attention="cpu", timings=timings),
        code=provenance.Code(commit="0", dirty=False, fingerprint="f"), environment=provenance.environment("cpu"),
    )  # fmt: skip


def test_targets_are_met_or_not() -> None:
    rows = {row.text: (row.measured, row.met) for row in targets(made_up())}
    assert rows == {
        "decoder step / its matrix products": (1.2, True), "published / ours, 3 steps": (2.0, True),
        "published / ours, one more step": (2.5, True), "published / ours, training step": (1.25, False),
        "peak memory, ours / published, 3 steps": (0.5, True), "peak memory, ours / published, training": (2.0, False),
    }  # fmt: skip
    assert not targets(made_up(step=1.4))[0].met


def test_report_says_everything() -> None:
    text = report(made_up())
    assert "tiny, 512×512, batch 1, float32, attention cpu" in text
    assert "| step | 1200.0 | 1200.0–1200.0 | 1000.0 | 1.20 |" in text
    assert "| published / ours, training step | 1.25 | ≥ 1.4 | not met |" in text
    assert "3 steps 256 MiB" in text


@pytest.mark.slow
def test_a_real_one_is_written_and_read_back(tmp_path) -> None:
    setting = Setting(size=(32, 32), steps=(1,), repetitions=3, published=False, training=False)
    made = run_bench(TINY, setting, tmp_path, progress=False)
    assert find_benches(tmp_path) == [made]
    assert (tmp_path / "bench" / f"{made.name}.json").is_file() and made.name.startswith("tiny-32x32-b1-float32-")
    assert made.peak_bytes["1 steps"] > 0


def test_growth_compares_equal_conditions() -> None:
    small, large = made_up((256, 256)), made_up()
    other = dataclasses.replace(large, setting=dataclasses.replace(large.setting, batch=2))
    assert bench_records.growth([large, other, small], small) == [small, large]


def test_figures() -> None:
    small, large = made_up((256, 256)), made_up()
    plain = make_record()
    score = plain.scores[0]
    scored = dataclasses.replace(plain, scores=[dataclasses.replace(score, steps=n) for n in (1, 3, 10)])
    drawn = [
        bench_figures.figure_stages(large), bench_figures.figure_growth([small, large]),
        bench_figures.figure_accuracy_over_time(scored, large),
    ]  # fmt: skip
    assert [figure.name for figure in drawn] == ["bench_stages", "bench_growth", "bench_accuracy"]
    assert all(figure._repr_png_()[:4] == b"\x89PNG" for figure in drawn)
    assert list(drawn[2].drawing.axes[0].lines[0].get_xdata()) == [3.0, 5.0], "ten steps were not timed"
    assert all(a.sources != b.sources for a, b in itertools.pairwise(drawn))
    with pytest.raises(ValueError, match="at least two image sizes"):
        bench_figures.figure_growth([small])


def test_growth_over_records_of_other_numbers_of_steps() -> None:
    """A large picture is often timed at one step alone."""
    usual = made_up()
    setting = dataclasses.replace(usual.setting, size=(1024, 2048), steps=(1,))
    single = dataclasses.replace(made_up((1024, 2048)), setting=setting, peak_bytes={"1 steps": 2**30})
    memory = bench_figures.figure_growth([usual, single]).drawing.axes[1]
    assert list(memory.lines[0].get_ydata()) == [256.0, 1024.0]


def test_sizes() -> None:
    assert parse_size("512") == (512, 512) and parse_size("1024x2048") == (1024, 2048)
    for wrong in ("", "a", "1x2x3", "-4"):
        with pytest.raises(ConfigError, match="image size"):
            parse_size(wrong)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--size", "big"], "image size 'big'"), (["--dtype", "int8"], "no dtype 'int8'"), (["none"], "no recipe")],
)
def test_mistakes_are_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_every_stage_is_in_the_report() -> None:
    assert all(f"| {stage} |" in report(made_up()) for stage in STAGES)
