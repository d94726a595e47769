"""The index page: everything of a preset on one page that works from disk."""

import dataclasses
from html.parser import HTMLParser
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from workbook.fakes import make_record, make_trajectory, write_records

from ddp_repro.evaluation.measure import spread
from ddp_repro.papers.ddp.claims import claims_table
from ddp_repro.papers.ddp.costs import complexity as complexity_module
from ddp_repro.papers.ddp.figures import figure3 as figures
from ddp_repro.papers.ddp.samples.segmentation import load_trajectory
from ddp_repro.settings.errors import ConfigError
from ddp_repro.store.paths import repository_root
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.figures.style import save_figure
from ddp_repro.workbook.index import _summary, write_index
from ddp_repro.workbook.runs.records import RecordError, load_record
from ddp_repro.workbook.tables import counts
from ddp_repro.workbook.tables import table as tables
from ddp_repro.workbook.tables.rendering import save_table, to_html


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.tags, self.ids = [], set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        values = dict(attributes)
        self.links += [values[name] for name in ("href", "src") if name in values]
        if "id" in values:
            assert values["id"] not in self.ids, "ids are unique"
            self.ids.add(values["id"])


@pytest.fixture
def results(tmp_path, monkeypatch):
    kinds = SimpleNamespace(modules=10**9)
    counted = SimpleNamespace(parameters=10**6, map_decoder_parameters=10**6, macs=10**9, by_kind=kinds)
    monkeypatch.setattr(complexity_module, "complexity", lambda *a: counted)
    monkeypatch.setattr(counts, "peer_count", lambda *row: None)
    monkeypatch.setattr("ddp_repro.papers.ddp.costs.complexity.explain_macs", lambda *row: "equal")
    record = make_record("cityscapes_mini", images=24, miou={1: [38.0, 40.0], 3: [41.0, 43.0]})
    write_records(tmp_path, record, make_record("ade20k_mini"))
    mini = tmp_path / "mini"
    make_trajectory(mini / "runs" / "cityscapes_mini" / "trajectory.npz")
    trajectory = load_trajectory(mini / "runs" / "cityscapes_mini" / "trajectory.npz")
    save_figure(figures.figure_3a(record), mini / "figures")
    save_figure(figures.figure_3c(trajectory, record), mini / "figures")
    save_table(tables.paper_table("ddp_table2", "mini", tmp_path), mini / "tables")
    (mini / "notebooks").mkdir()
    (mini / "notebooks" / "ddp_table2_cityscapes.html").write_text("<p>executed</p>")
    return tmp_path


def test_every_link_leads_somewhere(results):
    path = write_index("mini", results)
    page = Links(path.read_text())
    files = [link for link in page.links if not link.startswith("#")]
    assert len(files) >= 8
    for link in files:
        assert not link.startswith(("/", "http", "file:", ".."))
        assert (path.parent / unquote(link)).is_file(), link
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert not page.tags & {"script", "iframe", "link"}


def test_shows_tables_figures_runs_and_provenance(results):
    text = write_index("mini", results).read_text()
    for expected in (
        "42.00<small> ± 1.41</small>", "mIoU (%) ↑ at 3 steps, 24 images", "trend only", "Table 2.", "Figure 3a.",
        "Figure 3c.",
        "measured (mini: synthetic, 24 images)", "cityscapes val", "cccccccccccc",
        "none of these numbers is comparable",
        "runs/ade20k_mini/record.json", "notebooks/ddp_table2_cityscapes.html", "torch ",
    ):  # fmt: skip
        assert expected in text
    assert str(results) not in text


def test_a_table_and_a_figure_of_one_name_have_ids_of_their_own(results):
    folder = results / "mini"
    record = make_record("cityscapes_mini", images=24, miou={1: [38.0, 40.0]})
    figure = dataclasses.replace(figures.figure_3a(record), name="ddp_figure3c_quality")
    table = dataclasses.replace(tables.paper_table("ddp_table2", "mini", results), name="ddp_figure3c_quality")
    save_figure(figure, folder / "figures")
    save_table(table, folder / "tables")
    page = Links(write_index("mini", results).read_text())  # asserts that ids are unique
    assert {"figure-ddp_figure3c_quality", "table-ddp_figure3c_quality"} <= page.ids


@pytest.mark.parametrize("preset", ["camvid", "sevenscenes", "kitti_lidar"])
def test_committed_pages_have_unique_ids_and_links_that_lead_somewhere(preset):
    path = repository_root() / "results" / preset / "index.html"
    page = Links(path.read_text(encoding="utf-8"))
    assert all((path.parent / unquote(link)).is_file() for link in page.links if not link.startswith("#"))


def test_cards_name_the_records_own_measure():
    text = (repository_root() / "results" / "sevenscenes" / "index.html").read_text(encoding="utf-8")
    record = load_record(repository_root() / "results/sevenscenes/runs/sevenscenes_lite0/record.json")
    mean, std = spread(record.values(3))
    assert f"{mean:.3f}<small> ± {std:.3f}</small>" in _summary([record])
    assert "REL ↓ at 3 steps" in _summary([record])
    assert "mIoU" not in _summary([record])
    assert f"{mean:.3f}<small>" in text


def test_figures_link_to_their_full_size(results):
    assert {"figures/ddp_figure3a.png", "figures/ddp_figure3a.pdf"} <= set(
        Links(write_index("mini", results).read_text()).links
    )


def test_claims_that_were_not_run_fold_into_one_line(results):
    text = to_html(claims_table("mini", results))
    shown, _, folded = text.partition("<details><summary>")
    assert 'class="table prose"' in shown
    assert "absent" not in shown
    count = int(folded.split()[0])
    assert count == folded.count('<td class="measured absent"') > 10
    assert 'data-heading="Claim"' in text  # what a narrow page shows before the cell


def test_printed_numbers_come_with_the_verdict(results):
    write_records(results, make_record(settings=recipe("ade20k_swin_t", "paper"), images=2000, miou={3: [46.0]}))
    text = write_index("paper", results).read_text()
    assert "Against the printed numbers" in text
    assert "<td>47.00</td><td>46.00</td><td>± 0.30</td><td>differs</td>" in text


def test_nothing_run_yet(tmp_path):
    text = write_index("camvid", tmp_path).read_text()
    assert "No finished run yet" in text
    assert "No figure yet" in text


def test_unknown_preset(tmp_path):
    with pytest.raises(ConfigError, match="no preset 'tiny'"):
        write_index("tiny", tmp_path)


def test_damaged_record_is_named_and_the_old_page_kept(results):
    before = write_index("mini", results).read_text()
    (results / "mini" / "runs" / "ade20k_mini" / "record.json").write_text("{}")
    with pytest.raises(RecordError, match=r"ade20k_mini.record\.json"):
        write_index("mini", results)
    assert (results / "mini" / "index.html").read_text() == before


def test_what_records_say_is_escaped(tmp_path):
    record = make_record("ade20k_mini")
    record.dataset.classes[0] = "<script>"
    object.__setattr__(record.dataset, "split", "<script>alert()</script>")
    write_records(tmp_path, record)
    assert "<script>" not in write_index("mini", tmp_path).read_text()


def test_the_page_explains_how_claims_are_judged(results):
    text = write_index("mini", results).read_text(encoding="utf-8")
    links = Links(text)
    assert {"#statistics"} <= set(links.links) and "statistics" in links.ids
    part = text.partition('id="statistics"')[2].partition('id="runs"')[0]
    assert "Holm" in part and "<table>" in part and "##" not in part
