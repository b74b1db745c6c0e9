"""The written page: what it says, what it escapes, and how it meets folders that lack a part."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from demonstrably.evaluation.intervals import score_of
from demonstrably.report import write
from demonstrably.report.scores import of_checkpoints

from .report_folders import (
    FINDINGS,
    Shape,
    comparison,
    config,
    evaluations,
    halving,
    make_run,
    metric_lines,
    selection,
    write_json,
)

MARKUP = "<script>alert(1)<img src=x onerror=alert(1)>"


class Elements(HTMLParser):
    """Gathers what a browser would make of a page: elements, attributes, text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open.append(tag)
        self.text += " "

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


def text_of(page: Path) -> str:
    return re.sub(r"\s+", " ", Elements(page.read_text()).text)


def bare_run(path: Path, shape: Shape | None = None) -> Path:
    """A run that has begun and written its configuration."""
    write_json(path / "config.json", config(shape or Shape()))
    return path


def test_a_whole_run_tells_its_story(whole: Path, tmp_path: Path) -> None:
    text = text_of(write(whole / "bc", tmp_path / "report.html"))
    record = json.loads((whole / "bc" / "selection.json").read_text())
    done = record["confirmed"]
    fresh = f"{done['mean']:.2f} [{done['low']:.2f}, {done['high']:.2f}], {done['count']}/{done['episodes']}"
    naive = record["arms"][record["naive"]]["mean"]
    assert f"{fresh} is the number to quote: {record['label']}, on fresh seeds." in text
    assert f"naive maximum {naive:.2f}" in text
    assert f"{record['spent']:,} of {record['rollouts']:,} rollouts were spent" in text
    assert "3 of 25 episodes begin with more than 40 steps" in text
    assert "5,000 of 5,000 steps" in text and "sha256:4f1c" in text and "2.13.0+cpu" in text
    assert "lowest validation loss" in text


def test_the_scores_are_those_of_the_library(whole: Path) -> None:
    table = parquet.read_table(whole / "bc" / "evaluations.parquet")
    scores = of_checkpoints(table)
    assert scores is not None and scores.evaluated == len(scores.checkpoints) == 20
    at = scores.checkpoints[7]
    expected = score_of(table.filter([step == at.step for step in table["checkpoint"].to_pylist()]))
    assert expected.success is not None
    assert at.pooled.text == str(expected.success)
    assert [at.members[m].text for m in range(3)] == [str(member.success) for member in expected.members]


def with_selection(table: pa.Table, rounds: np.ndarray) -> pa.Table:
    """The table with purpose "select" and these rounds where a round is not below 0."""
    purposes = pa.array(np.where(rounds < 0, "train", "select"))
    table = table.set_column(table.column_names.index("purpose"), "purpose", purposes)
    return table.set_column(table.column_names.index("round"), "round", pa.array(rounds, mask=rounds < 0))


def test_of_a_selection_only_the_first_round_counts_towards_a_checkpoint() -> None:
    table = evaluations(Shape(checkpoints=2))
    seeds = table["seed"].to_numpy()
    scores = of_checkpoints(with_selection(table, np.where(seeds < 12, -1, np.where(seeds < 17, 0, 1))))
    assert scores is not None and scores.selecting
    assert all(score.pooled.text.endswith("/51") for score in scores.checkpoints)


def test_a_first_round_on_seeds_of_its_own_for_each_arm_does_not_count() -> None:
    table = evaluations(Shape(checkpoints=2))
    index = np.arange(table.num_rows)
    scores = of_checkpoints(with_selection(table, np.where(index % 20 == index // 20, 0, -1)))
    assert scores is not None and not scores.selecting
    assert scores.checkpoints[0].members[0].text.endswith("/19")


def test_a_first_round_of_few_seeds_does_not_count() -> None:
    table = evaluations(Shape(checkpoints=2, episodes=4))
    assert of_checkpoints(with_selection(table, np.zeros(table.num_rows, int))) is None


def test_what_was_played_apart_from_the_selection_stands_beside_it(tmp_path: Path) -> None:
    run = bare_run(tmp_path / "run")
    table = evaluations(Shape())
    table = table.set_column(table.column_names.index("purpose"), "purpose", [["evaluate"] * table.num_rows])
    parquet.write_table(table, run / "evaluations.parquet")
    write_json(run / "selection.json", halving(6) | {"checkpoint": 500, "member": 2})
    mine = [row["success"] for row in table.to_pylist() if (row["checkpoint"], row["member"]) == (500, 2)]
    text = text_of(write(run))
    assert re.search(rf"evaluated on other seeds [\d.]+ \[[\d., ]+\], {sum(mine)}/20", text)


def test_a_run_with_nothing_but_a_selection_has_scores_too(tmp_path: Path) -> None:
    run = bare_run(tmp_path / "run")
    table = evaluations(Shape())
    parquet.write_table(with_selection(table, np.zeros(table.num_rows, int)), run / "evaluations.parquet")
    assert "Episodes of the selection's first round, which was fixed beforehand, count too." in text_of(write(run))


def test_scores_by_return_keep_their_unit_and_clipping_is_told(tmp_path: Path) -> None:
    unit = {"measure": "return", "low": 0.0, "high": 400.0}
    run = bare_run(tmp_path / "run")
    record = halving(6) | {"scale": unit, "clipped": 1234}
    record["confirmed"] = {"mean": 0.5, "low": 0.4, "high": 0.6, "episodes": 100}
    write_json(run / "selection.json", record)
    compared = comparison(("a", "b"), Shape()) | {"scale": unit}
    write_json(run / "comparisons" / "a-vs-b.json", {"comparison": compared, "scores": [], "clipped": 3})
    text = text_of(write(run))
    assert "200 [160, 240], 100 episodes is the number to quote" in text
    assert "naive maximum 400, 200 higher" in text
    assert "1,234 returns lay outside 0 to 400" in text and "3 returns lay outside" in text
    pair = compared["pairs"][0]
    assert f"{400 * pair['difference']:+.4g} [{400 * pair['low']:+.4g}, {400 * pair['high']:+.4g}]" in text


def test_returns_where_there_is_no_success(tmp_path: Path) -> None:
    run = bare_run(tmp_path / "run")
    parquet.write_table(evaluations(Shape(), success=False), run / "evaluations.parquet")
    text = text_of(write(run))
    assert "Return at each checkpoint" in text
    assert re.search(r"all members \d[\d.]+ \[[\d.]+, [\d.]+\], 60 episodes", text)


def test_one_episode_has_a_score_and_no_interval(tmp_path: Path) -> None:
    run = bare_run(tmp_path / "run")
    table = evaluations(Shape(members=1, checkpoints=1, episodes=1), success=False)
    parquet.write_table(table, run / "evaluations.parquet")
    assert "1 episode(s): too few for an interval" in text_of(write(run))


def test_two_runs_and_their_comparison(whole: Path) -> None:
    page = write([whole / "bc", whole / "bc-rnn"])
    assert page == whole / "report.html"
    text = text_of(page)
    record = json.loads((whole / "bc" / "comparisons" / "bc_bc-rnn.json").read_text())
    pair = record["pairs"][0]
    assert f"{pair['difference']:+.2f} [{pair['low']:+.2f}, {pair['high']:+.2f}]" in text
    assert "bc is better than bc-rnn" in text
    assert "Probability of improvement" in text and "Across members" in text
    assert "By task, step" in text


def test_a_comparison_in_both_folders_is_shown_once(tmp_path: Path) -> None:
    record = comparison(("a", "b", "c"), Shape(members=1))
    for name in "ab":
        write_json(bare_run(tmp_path / name) / "comparisons" / "x.json", record)
    text = text_of(write([tmp_path / "a", tmp_path / "b"]))
    assert text.count("a − b") == text.count("b − c") == 1
    assert "all together" in text


def test_a_run_that_has_just_begun_says_what_to_do(tmp_path: Path) -> None:
    run = bare_run(tmp_path / "fresh run")
    page = Elements(write(run).read_text())
    text = re.sub(r"\s+", " ", page.text)
    assert page.count("figure") == 0
    for verb in ("evaluate", "select"):
        assert f"demonstrably {verb} '{run}'" in text
    assert "demonstrably inspect data/door_human.hdf5" in text
    assert "0 of 5,000 steps" in text


def test_a_run_that_still_trains(tmp_path: Path) -> None:
    run = bare_run(tmp_path / "run")
    lines = metric_lines(Shape())[:40]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n" + '{"step": 9')
    (run / "checkpoints" / "000250").mkdir(parents=True)
    (run / "checkpoints" / ".partial-000500").mkdir()
    (run / "selection.json").write_text('{"arms": [')
    page = write(run)
    text = text_of(page)
    assert f"{json.loads(lines[-1])['step']} of 5,000 steps" in text
    assert "1 checkpoints" in text
    assert "selection.json is not readable as JSON" in text
    assert Elements(page.read_text()).count("figure") == 2


@pytest.mark.parametrize("record", [{}, {"arms": []}, {"arms": 3, "winner": "x"}, {"arms": [{}], "rounds": None}])
def test_a_selection_of_another_shape_is_told(tmp_path: Path, record: dict) -> None:
    run = bare_run(tmp_path / "run")
    write_json(run / "selection.json", record)
    write_json(run / "comparisons" / "x.json", record)
    text = text_of(write(run))
    assert "selection.json does not hold a selection" in text
    assert "x.json does not hold a comparison" in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": None},
        {"data": [1]},
        {"spec": 3},
        {"steps": "x", "members": None},
        {"fields": {"a": {"b": []}}},
    ],
)
def test_a_configuration_of_another_shape_is_shown_as_it_is(tmp_path: Path, wrong: dict) -> None:
    write_json(tmp_path / "run" / "config.json", config(Shape()) | wrong)
    assert "Configuration" in text_of(write(tmp_path / "run"))


@pytest.mark.parametrize("found", [None, [], [3, {}], [{"severity": "odd", "message": None}], "x"])
def test_findings_of_another_shape_do_no_harm(tmp_path: Path, found: object) -> None:
    write_json(bare_run(tmp_path / "run") / "findings.json", {"findings": found, "summary": 3})
    assert "Data" in text_of(write(tmp_path / "run"))


def test_not_a_number_is_shown_as_such(tmp_path: Path) -> None:
    run = bare_run(tmp_path / "run")
    rows = [{"step": s, "loss": [1.0 / s, float("nan") if s >= 40 else 2.0]} for s in range(1, 80)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = write(run).read_text()
    assert "Not finite (train): member 1 from step 40." in Elements(page).text
    assert not re.search(r'(?:d|c[xy]|[xy][12]?)="[^"]*(?:nan|inf)', page)


def test_markup_in_names_and_values_is_harmless(tmp_path: Path) -> None:
    run = tmp_path / MARKUP.replace("/", "")
    shape = Shape(members=2, checkpoints=3, lines=20)
    text = json.dumps(config(shape)).replace("AdroitHandDoor-v1", MARKUP).replace("learning_rate", MARKUP)
    write_json(run / "config.json", json.loads(text) | {MARKUP: MARKUP})
    entry = {"severity": MARKUP, "kind": MARKUP, "where": MARKUP, "message": MARKUP, "advice": MARKUP}
    write_json(run / "findings.json", {"findings": [entry], "summary": {MARKUP: MARKUP}})
    lines = [line.replace("gradient_norm", MARKUP) for line in metric_lines(shape)]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    parquet.write_table(evaluations(shape, tasks=(MARKUP, "b")), run / "evaluations.parquet")
    write_json(run / "selection.json", json.loads(json.dumps(selection(shape)).replace("member", MARKUP)))
    write_json(run / "comparisons" / f"{MARKUP}.json", comparison((MARKUP, "b"), shape))
    write_json(run / "comparisons" / "other.json", comparison(("a", MARKUP), shape))
    (run / "videos").mkdir()
    (run / "videos" / f"{MARKUP}.mp4").write_bytes(b"no film")
    page = Elements(write(run).read_text())
    assert page.count("script") == 1 and page.count("img") == 0
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)
    assert page.text.count(MARKUP) > 12


def test_runs_on_the_same_data_share_one_section_on_them(tmp_path: Path) -> None:
    for name in "ab":
        write_json(bare_run(tmp_path / name) / "findings.json", FINDINGS.to_dict())
    assert text_of(write([tmp_path / "a", tmp_path / "b"])).count("3 of 25 episodes begin") == 1
    write_json(tmp_path / "b" / "findings.json", FINDINGS.to_dict() | {"summary": {}})
    assert text_of(write([tmp_path / "a", tmp_path / "b"])).count("3 of 25 episodes begin") == 2


def test_of_many_findings_of_a_kind_the_first_are_written_out(tmp_path: Path) -> None:
    found = [{"severity": "note", "kind": "groups", "message": f"message {index}."} for index in range(8)]
    other = {"severity": "note", "kind": "other", "message": "alone."}
    write_json(bare_run(tmp_path / "run") / "findings.json", {"findings": [*found, other]})
    text = text_of(write(tmp_path / "run"))
    assert "message 2. (and 5 more of this kind)" in text
    assert "message 3." not in text and "alone." in text


def test_records_in_the_summary_become_tables(tmp_path: Path) -> None:
    keys = {"flat": {"shape": [39], "bytes": 12_345}, "image": {"shape": [84, 84, 3], "bytes": None}}
    groups = {"demonstrator": [{"value": "ann", "success": None, "episodes": 4}, {"value": "bob", "episodes": 7}]}
    summary = {"keys": keys, "groups": groups, "episodes": 11}
    write_json(bare_run(tmp_path / "run") / "findings.json", {"findings": [], "summary": summary})
    page = write(tmp_path / "run")
    text = text_of(page)
    assert "name shape bytes flat 39 12,345 image 84, 84, 3 none" in text
    assert "Groups: demonstrator value episodes ann 4 bob 7" in text  # no column for what is nowhere known


def test_nothing_is_fetched(whole: Path) -> None:
    page = Elements(write(whole / "bc").read_text())
    sources = [value for _, attributes in page.found for name in ("src", "href") if (value := attributes.get(name))]
    assert all(value.startswith(("#", "data:")) for value in sources)
    policy = [attributes["content"] for tag, attributes in page.found if attributes.get("http-equiv")]
    assert policy and policy[0] and policy[0].startswith("default-src 'none'")


def test_every_figure_has_a_title_axes_and_a_text_alternative(whole: Path) -> None:
    page = write([whole / "bc", whole / "bc-rnn"]).read_text()
    figures = re.findall(r"<figure>(.*?)</figure>", page, re.S)
    assert len(figures) > 12
    for figure in figures:
        assert re.search(r"<figcaption><strong>[^<]{4,}</strong>", figure)
        if 'class="plot"' in figure:
            assert len(re.search(r'aria-label="([^"]*)"', figure)[1]) > 40  # type: ignore[index]
            assert re.search(r'class="name x">[^<]{4,}<', figure)


def test_small_films_are_inside_and_large_ones_linked(tmp_path: Path) -> None:
    run = bare_run(tmp_path / "run with space")
    (run / "videos").mkdir()
    (run / "videos" / "a_small.mp4").write_bytes(b"0" * 1000)
    (run / "videos" / "b large.mp4").write_bytes(b"0" * 8_100_000)
    (run / "videos" / "c.mp4").write_bytes(b"0" * 1000)
    page = Elements(write(run, tmp_path / "out" / "r.html").read_text())
    films = [attributes["src"] for tag, attributes in page.found if tag == "video"]
    assert len(films) == 2 and all(film and film.startswith("data:video/mp4;base64,MDAw") for film in films)
    links = [attributes["href"] for tag, attributes in page.found if tag == "a" and "class" not in attributes]
    assert "../run%20with%20space/videos/b%20large.mp4" in links


def test_an_animation_stays_in_its_frame(tmp_path: Path) -> None:
    run = bare_run(tmp_path / "run")
    (run / "animation.html").write_text('<p class="x">"quoted" & <script>document.title = 1</script></p>')
    page = Elements(write(run).read_text())
    frames = [attributes for tag, attributes in page.found if tag == "iframe"]
    assert len(frames) == 1 and frames[0]["sandbox"] == "allow-scripts"
    assert '<p class="x">"quoted" & <script>document.title = 1</script></p>' in (frames[0]["srcdoc"] or "")
    assert page.count("script") == 1


@pytest.mark.parametrize(
    "shape",
    [
        Shape(members=1, checkpoints=1, lines=3),
        Shape(members=32, checkpoints=20, lines=1500),
        Shape(members=2, checkpoints=1000, episodes=5, lines=1500),
    ],
)
def test_pages_of_any_size_stay_small(tmp_path: Path, shape: Shape) -> None:
    run = bare_run(tmp_path / ("a_very_long_name_" * 14), shape)
    (run / "metrics.jsonl").write_text("\n".join(metric_lines(shape)) + "\n")
    parquet.write_table(evaluations(shape), run / "evaluations.parquet")
    if shape.checkpoints * shape.members > 1:
        write_json(run / "selection.json", halving(shape.checkpoints * shape.members))
    assert 20_000 < write(run).stat().st_size < 1_000_000


def test_a_long_log_stays_small(tmp_path: Path) -> None:
    run = bare_run(tmp_path / "run")
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(200_000):
            file.write(f'{{"step": {step}, "loss": [{100 / (step + 1):.6f}, 0.5], "time": 1.0}}\n')
    page = write(run)
    assert page.stat().st_size < 200_000
    text = text_of(page)
    assert "one line in 3 is read" in text and "199,998 of 5,000 steps" in text


def test_the_page_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bare_run(tmp_path / "run")
    page = write(run)
    before = page.read_text()

    def full(self: Path, text: str, **_: object) -> int:
        with self.open("w") as file:
            file.write(text[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write(run)
    assert page.read_text() == before
    assert [path.name for path in run.iterdir() if "partial" in path.name] == []


def test_out_must_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder; give the name of a file"):
        write(bare_run(tmp_path / "run"), tmp_path)


def test_names_of_many_runs(tmp_path: Path) -> None:
    runs = [bare_run(tmp_path / f"seed{i}") for i in range(5)]
    text = text_of(write(runs))
    assert "5 runs: seed0, seed1, seed2, ..." in text
    assert "demonstrably compare" in text


def test_made_up_runs_are_as_the_library_writes_them(tmp_path: Path) -> None:
    from demonstrably.evaluation.selection import Selection
    from demonstrably.training.run import EPISODES

    table = evaluations(Shape())
    assert table.column_names == EPISODES.names
    assert [table.schema.field(name).type for name in EPISODES.names] == EPISODES.types
    assert Selection.from_dict(selection(Shape())).label.startswith("step ")
    assert make_run(tmp_path / "run") == tmp_path / "run"
