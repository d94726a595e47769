"""The README's commands and snippets run, in a clone of their own.

A fenced ``bash`` or ``python`` block is preceded by ``<!-- test -->`` (it runs as printed), ``<!-- test: command -->``
(a short stand-in runs instead), either as ``test slow`` where it takes long, or ``<!-- not run: reason -->``.
"""

import html
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.depth_files import write_depth_folder
from tests.film_files import write_film
from tests.training.tiny import write_images

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]+) -->\n)?```(?P<language>bash|python)\n(?P<code>.+?)```", re.DOTALL)
BLOCKS = [match.groupdict() for match in BLOCK.finditer(README)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """What a user has after ``make demo``, made small: the notebooks, a picture, and weights of a mini model."""
    from ddp_repro.workbook import catalogue as recipes

    folder = tmp_path_factory.mktemp("clone with spaces")
    for name in ("Makefile", "pyproject.toml", "uv.lock", "notebooks"):
        (folder / name).symlink_to(ROOT / name)
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "photo.jpg")
    write_film(folder / "drive.avi", [pixels] * 3, size=(64, 48))
    images = write_images(folder / "my_images")
    for kind in ("images", "masks"):
        (images / kind / "test").rename(images / kind / "val")
    write_colored(images, folder / "my_colors")
    write_depth_folder(write_depth_folder(folder / "my_frames", "train"), "val")
    (folder / "results/camvid").mkdir(parents=True)
    (folder / "results/camvid/weights").symlink_to(ROOT / "results/camvid/weights")
    save_untrained(recipes.recipe("ade20k_mini"), folder / "results/mini/runs/ade20k_mini/model.safetensors")
    return folder


def write_colored(source: Path, target: Path) -> None:
    """The same folder with masks of colours."""
    palette = np.array([[0, 0, 0], [200, 0, 0], [0, 0, 200]], np.uint8)
    shutil.copytree(source, target)
    for path in target.glob("masks/*/*.png"):
        Image.fromarray(palette[np.asarray(Image.open(path))]).save(path)
    classes = {"names": ["ground", "red", "blue"], "palette": palette.tolist()}
    (target / "classes.json").write_text(json.dumps(classes))


def save_untrained(recipe, path: Path) -> None:
    """Initial weights with the recipe inside, as training writes them."""
    from ddp_repro.interop.checkpoints import save_weights
    from ddp_repro.papers.ddp.build import build_model
    from ddp_repro.settings.overrides import to_dict

    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(build_model(recipe.model), path, {"recipe": json.dumps(to_dict(recipe)), "iteration": "0"})


def test_every_block_says_how_it_is_tested():
    assert len(BLOCKS) == README.count("```bash") + README.count("```python")
    marks = [block["mark"] or "" for block in BLOCKS]
    assert all(re.fullmatch(r"test( slow)?(: .+)?|not run: .+", mark) for mark in marks), marks


def test_printed_results_are_the_records():
    """Every row of the CamVid table, as the records have it."""
    rows = []
    for run, method in (("camvid_lite0_baseline", "non-diffusion baseline"), ("camvid_lite0", "DDP")):
        record = json.loads((ROOT / "results/camvid/runs" / run / "record.json").read_text())
        for row in record["summary"]:
            std = row["miou_std"]
            score = f"{row['miou_mean']:.2f}" + ("" if std is None else f" ± {std:.2f}")
            rows.append(f"| {method} | {'–' if std is None else row['steps']} | {score} |")
    assert len(rows) == 6
    assert [row for row in rows if row not in README] == []
    uncertainty = json.loads((ROOT / "results/camvid/runs/camvid_lite0/uncertainty.json").read_text())
    change, entropy = (uncertainty["result"]["scores"][name]["dataset"] for name in ("change_count", "entropy"))
    assert f"(r = {change['correlation']:.2f}); it finds them with AUROC {change['auroc']:.3f}" in README
    assert f"the entropy of the averaged prediction with {entropy['auroc']:.3f}" in README


@pytest.mark.parametrize("preset", ["sevenscenes", "kitti_lidar"])
def test_printed_depth_is_the_records(preset):
    """Every row of the depth tables: means and spread over the trainings."""

    def summary(run):
        return json.loads((ROOT / "results" / preset / "runs" / run / "record.json").read_text())["summary"]

    def cell(values):
        return f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}"

    rows = []
    for end, method in (("_baseline", "non-diffusion baseline"), ("", "DDP")):
        trainings = [summary(f"{preset}_lite0{end}{seed}") for seed in ("", "-seed1")]
        for same in zip(*trainings, strict=True):
            cells = [cell([row[f"{metric}_mean"] for row in same]) for metric in ("rel", "delta1", "rmse")]
            rows.append(f"| {method} | {'–' if end else same[0]['steps']} | {' | '.join(cells)} |")
    constant = json.loads((ROOT / "results" / preset / "runs" / f"{preset}_lite0" / "mean_depth.json").read_text())
    numbers = [f"{constant['score'][metric]:.3f}" for metric in ("rel", "delta1", "rmse")]
    rows.append(f"| mean depth map of the training images | – | {' | '.join(numbers)} |")
    assert len(rows) == 6
    assert [row for row in rows if row not in README] == []


def test_printed_gain_is_the_records():
    """Every row of what three steps gain, by scale, over the trainings that were analysed, and of a room."""
    from ddp_repro.papers.ddp.tables.gain import gains_of

    def cell(gain, digits=2):
        return f"{gain.value:+.{digits}f} [{gain.low:+.{digits}f}, {gain.high:+.{digits}f}]".replace("-", "−")

    (room,) = gains_of("sevenscenes", ROOT / "results")
    three, ten = room.gains[3], room.gains[10]
    words = f"gain over one, {cell(three['total'], 3)}, the map makes {cell(three['map'], 3)}, for an empty one"
    assert words in " ".join(README.split()) and f"ten steps gain {cell(ten['total'], 3)}" in " ".join(README.split())
    assert three["look"].value == pytest.approx(-three["map"].value, abs=0.01)  # "by as much"
    measured = gains_of("camvid", ROOT / "results")
    assert len(measured) == 4
    for gains in measured:
        cells = " | ".join(cell(gains.gains[3][kind]) for kind in ("total", "look", "map"))
        assert f"| {gains.scale:g} | {len(gains.analyses)} | {cells} |" in README


def test_printed_agreement_is_that_of_figure_10():
    caption = html.unescape((ROOT / "results/camvid/figures/ddp_figure10.html").read_text())
    n = r"([\d.]+)"
    pattern = f"on {n} % of the pixels .*? on {n} % .*? more by {n} .*?: {n} to {n}; 2 paintings"
    pixels, others, gain, low, high = re.search(pattern, caption).groups()
    words = " ".join(README.split())
    assert f"on {pixels} % of the pixels, with the maps of the others on {others} %" in words
    assert f"by {gain} points [{low}, {high}] over pictures" in words


def test_printed_depth_uncertainty_is_the_records():
    """Every row of its table: by how much a spread finds errors better than chance, in the room and on the street."""
    results = [
        json.loads((ROOT / f"results/{preset}/runs/{preset}_lite0/depth_uncertainty.json").read_text())["result"]
        for preset in ("sevenscenes", "kitti_lidar")
    ]

    def cell(interval):
        text = f"{interval['estimate']:+.3f} [{interval['low']:+.3f}, {interval['high']:+.3f}]"
        return text.replace("-", "−")

    for name in ("step_spread", "sample_spread", "mirror_spread", "part_spread", "view_spread"):
        assert f" | {' | '.join(cell(result['advantage'][name]) for result in results)} |" in README, name
    room, street = (f"{100 * result['calibration']['coverage']:.0f} %" for result in results)
    assert f"it holds for {room} of the others' in the room and {street} on the street" in README


def case(block):
    marks = [pytest.mark.slow] if block["mark"].startswith("test slow") else []
    return pytest.param(block, id=block["code"].splitlines()[0], marks=marks)


@pytest.mark.parametrize("block", map(case, BLOCKS))
def test_block(block, clone):
    kind, _, stand_in = block["mark"].partition(": ")
    if kind == "not run":
        pytest.skip(block["mark"])
    code = stand_in or block["code"]
    command = (
        [sys.executable, "-c", code] if block["language"] == "python" else ["bash", "-euo", "pipefail", "-c", code]
    )
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_layout_is_the_repositorys():
    layout = README.partition("## Layout")[2].partition("```")[2].partition("```")[0]
    parent = ROOT
    for line in layout.strip().splitlines():
        name = line.split()[0]
        parent = ROOT if not line.startswith(" ") else ROOT / "ddp_repro"
        assert (parent / name).is_dir(), name


def test_links_within_the_repository_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_printed_effects_of_the_priors_maps_are_the_analyses():
    """What the true map is worth over another image's, in every training: the least and the most."""
    runs = ROOT / "results/camvid/runs"
    for arm in ("ddps_camvid_small_truth", "ddps_camvid_small"):
        paths = [runs / f"{arm}{end}" / "map_use.json" for end in ("", *(f"-seed{seed}" for seed in range(1, 5)))]
        effects = [json.loads(path.read_text())["result"]["effect"]["estimate"] for path in paths]
        assert f"{min(effects):+.1f} to {max(effects):+.1f} points" in README.replace("−", "-")


def test_printed_speed_is_the_records():
    from ddp_repro.papers.ddp.costs.records import find_benches, growth
    from ddp_repro.papers.ddp.costs.speed_table import batch_lines, growth_sentence, speed_lines

    benches = [bench for bench in find_benches(ROOT / "results") if bench.recipe == "ade20k_swin_t"]
    by_kind = {(b.setting.dtype, b.setting.size, b.setting.batch, b.environment.threads): b for b in benches}
    usual, narrow = (by_kind[dtype, (512, 512), 1, 2] for dtype in ("float32", "bf16"))
    assert "\n".join(speed_lines(usual, narrow)) in README
    words = " ".join(README.split())
    assert growth_sentence(growth(benches, usual)) in words
    assert growth_sentence(growth(benches, narrow)) in words
    assert "\n".join(batch_lines([bench for bench in benches if bench.setting.size == (256, 256)])) in README


def test_printed_costs_of_a_bev_sample_are_the_records():
    from ddp_repro.papers.ddp.tables.bev_costs import find_costs

    costs = {record.costs.dtype: record.costs for record in find_costs(ROOT / "results") if "camera" in record.recipe}
    usual, narrow = costs["float32"], costs["bf16"]
    words = (
        f"{usual.seconds:.0f} s in float32, {usual.seconds / usual.floor:.2f} times its products, and "
        f"{narrow.seconds:.0f} s in bf16, {narrow.seconds / narrow.floor:.2f} times"
    )
    assert words in " ".join(README.split())


def test_printed_parts_of_a_training_are_the_records():
    from ddp_repro.papers.ddp.costs.records import find_benches
    from ddp_repro.papers.ddp.costs.speed_table import training_lines

    (bench,) = (bench for bench in find_benches(ROOT / "results") if bench.recipe == "camvid_map")
    assert "\n".join(training_lines(bench)) in README


def test_printed_pretraining_is_the_records():
    """How long the small diffusion model learnt, and how well it denoises."""
    folder, words = ROOT / "results/small/runs/genpercept_diffusion_small", " ".join(README.split())
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    batch = json.loads((folder / "training.json").read_text())["work"]["settings"]["train.batch_size"]
    assert f"pretraining on {last['iteration'] * batch // 1000} 000 crops, {last['seconds'] / 60:.0f} minutes" in words
    levels = json.loads((folder / "denoising.json").read_text())["result"]["levels"]
    (level,) = (level for level in levels if level["t"] == 250)
    assert f"v at t = 250 is {level['unet']:.2f}, where the best guess by position has {level['position']:.2f}" in words


def test_printed_throughput_is_the_records():
    found = json.loads((ROOT / "results/predict/throughput/camvid_map.json").read_text())["result"]
    seconds = found["seconds"]
    folder, call = (f"{seconds[name]:.2f} s" for name in ("folder", "call"))
    words = " ".join(README.split())
    assert f"a folder takes {folder} a picture, a call of `ddp_repro.predict` for each {call}" in words
    assert f"command for each {seconds['command']:.1f} s ({found['pictures']} pictures of CamVid" in words
    assert seconds["call"] >= 1.5 * seconds["folder"]


def test_printed_times_of_the_prior_are_the_records():
    for name, end in (("b2", "on SegFormer-B2"), ("b0", "on B0")):
        path = ROOT / f"results/bench/ddps/ddps_ade20k_segformer_{name}-512x512-1threads.json"
        record = json.loads(path.read_text())
        whole, floor = (statistics.median(record["seconds"][f"prior, every call{part}"]) for part in ("", " floor"))
        words = r" times(?: its products)?, "
        assert (
            re.search(rf"{whole:.2f} s, {whole / floor:.2f}{words}{end}", README)
            and "EPYC" in record["environment"]["cpu"]
        )


def test_printed_cost_of_genpercept_at_full_size_is_the_records():
    """Every record's sentence; without a record, the command that makes one."""
    from ddp_repro.papers.genpercept.costs.records import find_full_size
    from ddp_repro.papers.genpercept.tables.full_size import COMMAND, sentence

    words = " ".join(README.split())
    records = find_full_size(ROOT / "results")
    assert [record.name for record in records if sentence(record) not in words] == []
    assert COMMAND in README and (not records) == ("has not been run to its end" in words)


def test_printed_effect_of_a_rooms_map_is_the_analyses():
    """The smallest and the largest over the trainings."""
    paths = (ROOT / "results/sevenscenes/runs").glob("sevenscenes_map*/map_use.json")
    results = [json.loads(path.read_text())["result"] for path in paths]
    effects, words = [result["effect"]["estimate"] for result in results], " ".join(README.split())
    true, sampled = (
        statistics.fmean(result["steps"][-1]["scores"][kind] for result in results) for kind in ("true", "prediction")
    )
    assert f"(REL is {true:.2f} with the true map, {sampled:.2f} with its own in sampling)" in words
    assert f"the true map is worth {min(effects):+.3f} to {max(effects):+.3f} REL over another image's" in words
    assert len(effects) == 8 and "300 iterations; eight trainings" in words


def test_printed_spread_and_error_of_a_room_are_the_analysis():
    path = ROOT / "results/sevenscenes/runs/sevenscenes_lite0/depth_uncertainty.json"
    learnt = json.loads(path.read_text())["result"]["calibration"]
    spread, bound = (statistics.median(learnt[name]) for name in ("spread", "metres"))
    assert f"{spread:.2f} m where 68 % of the errors are within {bound:.1f} m" in " ".join(README.split())


def test_printed_verifications_are_the_records():
    """Another processor's rounding, and another machine's training."""
    runs = ROOT / "results/camvid/runs"
    attempts = json.loads((runs / "camvid_map/verified.json").read_text())["attempts"]
    half = [attempt["measured"] for attempt in attempts if attempt["weights"] == "half precision"]
    assert len(half) == 4 and max(half) - min(half) < 0.0001
    assert f"{statistics.fmean(half):.2f} mIoU on this processor and three emulated" in README
    (trained,) = json.loads((runs / "camvid_map-seed1/verified.json").read_text())["attempts"]
    record = json.loads((runs / "camvid_map-seed1/record.json").read_text())
    assert "Xeon" in record["environment"]["cpu"] and "EPYC" in trained["environment"]["cpu"]
    assert f"{trained['recorded']:.2f} mIoU there, {trained['measured']:.2f} here: within the" in README
    interval = trained["difference"]
    assert trained["outcome"] == "within the spread" and f"±{(interval['high'] - interval['low']) / 2:.1f}" in README
