"""`fitexp recommend` for exercises: what comes next, and whether an expert is asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitexp import cli, worker
from fitexp.data.exercises.history import read_history
from fitexp.data.exercises.questions import Question, answering, asked, at, behind, reads
from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError
from fitexp.recommend_exercises import margin_of, probabilities, threshold_of
from fitexp.report.next_items import summary
from fitexp.run import PREDICTIONS, Run
from tests.data.exercises.made import made_table, protocol
from tests.exercise_run import ALLOW, HISTORIES, exercise_run

TABLE = made_table(HISTORIES)
MADE = {
    "exercise_attn": {},
    "gru4rec": {"data__split": "held_out_users", "data__fractions": [0.5, 0.0, 0.5]},
    "trigram": {"data__split": "last_part"},
}


@pytest.fixture(scope="module", params=MADE)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    name = request.param
    return exercise_run(tmp_path_factory.mktemp("runs") / name, name, **MADE[name])


@pytest.fixture(scope="module")
def attn(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return exercise_run(tmp_path_factory.mktemp("runs") / "attn")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITEXP_ALLOW", "tests.")
    return tmp_path


def recommend(run: Run, words: str) -> int:
    return cli.main(["recommend", str(run.path), *words.split()])


# What is asked


def test_a_recorded_event_asked_for_is_answered_as_in_training(run: Run) -> None:
    """By the model that answers people: what it says of each event it was trained on."""
    own = worker.own_data(run, ALLOW)
    known = worker.predict_run(run, own, "train", ALLOW)
    rows = np.asarray(known["rows"])
    of_everyone = rows[:, 0] == answering(own.spec)
    questions = [at(own, event) for event in rows[of_everyone, 1].tolist()]
    assert len(questions) >= 15
    found = probabilities(run, own, questions, ALLOW)
    np.testing.assert_allclose(found, known["probability"][of_everyone], rtol=1e-5, atol=1e-7)
    assert [q.answer for q in questions] == own.arrays["item"][rows[of_everyone, 1]].tolist()


def test_what_follows_everything_reads_the_last_events(run: Run) -> None:
    own = worker.own_data(run, ALLOW)
    question = behind(own, 1)
    assert "".join(own.spec.items[item] for item in question.items) == HISTORIES["u1"]
    most = reads(own.spec)
    assert most == {"last": 3, "every": 8}[own.spec.answers]
    last = dataclasses.replace(
        question, items=question.items[-most:], features=question.features[-most:]
    )
    one, other, alone = (
        probabilities(run, own, questions, ALLOW)
        for questions in ([question, behind(own, 2)], [behind(own, 2), last], [question])
    )
    np.testing.assert_allclose(one[0], other[1], rtol=1e-5)
    np.testing.assert_allclose(one[0], alone[0], rtol=1e-5)
    assert not np.allclose(one[0], one[1], rtol=1e-5)


def test_questions_leave_the_other_parts_and_folds_empty(attn: Run) -> None:
    own = worker.own_data(attn, ALLOW)
    made = asked(own, [behind(own, 0), behind(own, 3)], "val").arrays
    assert made["val"].tolist() == [[6, 3], [6, 7]]
    assert not len(made["test"])
    assert not len(made["train"])
    assert (np.asarray(made["part"]) == 1).sum() == 2


@pytest.mark.parametrize("model", ["exercise_attn", "gru4rec"])
def test_what_was_had_before_the_window_does_not_come_again(model: str, folder: Path) -> None:
    """One film of seven is left, and it comes for sure; nor does anything come behind all seven."""
    histories = {"u0": "abcdef", "u1": "badcfg", "u2": "gfedc", "u3": "cab"}
    run = exercise_run(
        folder / model,
        model,
        data__source__histories=histories,
        data__min_past=0,
        data__split="held_out_users",
        data__fractions=[0.5, 0.0, 0.5],
        task__mask_seen=True,
    )
    own = worker.own_data(run, ALLOW)
    question = behind(own, 0)
    (found,) = probabilities(run, own, [question], ALLOW)
    assert found.argmax() == own.spec.items.index("g")
    assert found.max() == 1.0
    every = dataclasses.replace(question, items=np.arange(7), features=np.zeros((7, 4), np.float32))
    with pytest.raises(InputError, match="had all items"):
        probabilities(run, own, [every], ALLOW)


# A history in a file


def write_history(folder: Path, user: str) -> str:
    own = TABLE.events[TABLE.events["user"] == user]
    own.drop(columns="user").to_csv(folder / "history.csv", index=False)
    return "history.csv"


def test_a_recorded_history_in_a_file_is_the_same_question(attn: Run, folder: Path) -> None:
    own = worker.own_data(attn, ALLOW)
    for number, user in enumerate(HISTORIES):
        known = behind(own, number)
        file = Path(write_history(folder, user))
        found, notes = read_history(file, protocol(), TABLE, known.profile)
        assert notes == []
        assert found.items.tolist() == known.items.tolist()
        np.testing.assert_allclose(found.features, known.features, rtol=1e-6)


def test_an_unknown_profile_is_that_of_the_mean(attn: Run, folder: Path) -> None:
    own = worker.own_data(attn, ALLOW)
    unknown = dataclasses.replace(behind(own, 0), profile=np.full(1, np.nan, np.float32))
    mean = np.mean([20, 30, 40, 50, 60, 70], dtype=np.float32)
    average = dataclasses.replace(unknown, profile=np.array([mean], np.float32))
    found = probabilities(attn, own, [unknown, average, behind(own, 0)], ALLOW)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    assert not np.array_equal(found[0], found[2])


def test_an_unknown_success_is_the_mean_of_training(attn: Run, folder: Path) -> None:
    """Of ups and downs in turn: 5 of 9 events of a user, 3 of the 6 that are trained on."""
    own = worker.own_data(attn, ALLOW)
    lines = [f"{item},{day}" for day, item in enumerate("abca")]
    answers = []
    for header, success in (("", ""), (",success", ","), (",success", ",0.5"), (",success", ",0")):
        rows = [f"item,time{header}", *(line + success for line in lines)]
        (folder / "h.csv").write_text("\n".join(rows))
        question, notes = read_history(Path("h.csv"), protocol(), TABLE, np.zeros(1))
        assert any("success" in note for note in notes) == (header == "")
        answers.append(probabilities(attn, own, [question], ALLOW)[0])
    absent, empty, mean, failed = answers
    np.testing.assert_array_equal(absent, empty)
    np.testing.assert_allclose(absent, mean, rtol=1e-6)
    assert not np.allclose(absent, failed, rtol=1e-4)


def test_what_a_history_does_not_say_is_unknown(folder: Path) -> None:
    (folder / "h.csv").write_text("item,difficulty,mood\na,,good\nb,2.5,\na,,\n")
    found, notes = read_history(Path("h.csv"), protocol(), TABLE, np.zeros(1))
    assert notes == [
        "h.csv: no column success: taken as the training mean; no column time: normlag of an item "
        "done before is taken as the training mean",
        "h.csv: not read: mood",
    ]
    success, difficulty, lag, uses = found.features.T
    assert np.isnan(success).all()
    assert np.isnan(difficulty).tolist() == [True, False, True]
    np.testing.assert_array_equal(lag, [1, 1, np.nan])
    np.testing.assert_allclose(uses, [0, 0, 1 / 12], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("itm,time\na,1\n", "h.csv, line 1: no column 'item'; did you mean its column 'itm'?"),
        ("item,sucess\na,1\n", "h.csv, line 1: no column 'sucess' is read; did you mean success?"),
        ("item\na\nz\n", "h.csv, line 3, item: 'z' is none of the 7 items of the data"),
        ("item,success\n,1\n", "h.csv, line 2, item: empty; each event needs one of the 7 items"),
        ("item,success\na,yes\n", "h.csv, line 2, success: 'yes' is not a number"),
        ("item,time\na,3\nb,\na,2\n", "h.csv, line 4, time: earlier than the line before"),
    ],
)
def test_a_wrong_history_is_one_line(
    text: str, said: str, attn: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "h.csv").write_text(text)
    assert recommend(attn, "--history h.csv") == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert not shown.out
    assert not (folder / "outputs").exists()


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text("item,succetabdh\n\"'0123.-eN \r\x00;é", max_size=60))
def test_any_history_is_read_or_refused_in_words(folder: Path, text: str) -> None:
    (folder / "any.csv").write_text("item,time,success\n" + text, newline="")
    said = ""
    try:
        found, _ = read_history(Path("any.csv"), protocol(), TABLE, np.zeros(1))
        assert found.features.shape == (len(found.items), 4)
    except InputError as error:
        said = str(error)
    assert said == "" or said.startswith("any.csv")


# What is said


def test_the_threshold_is_that_margin_of_the_test(run: Run) -> None:
    margins = np.sort(pd.read_parquet(run.file(PREDICTIONS))["margin"])
    for level in (0.2, 0.5):
        found = threshold_of(run, str(level))
        assert found.margin == margins[int((len(margins) + 1) * level) - 1]
        assert f"empirical {100 * level:g} % quantile of {len(margins)} margins" in found.words
    below, above = np.nextafter(found.margin, [0, 1])
    assert found.verdict(below).startswith("yes, because the margin")
    assert found.verdict(found.margin).startswith("no, because the margin")
    assert found.verdict(above).startswith("no, because the margin")


def test_a_known_user(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recommend(run, "--user u2 --level 0.5 --top 2 -o here") == 0
    own = worker.own_data(run, ALLOW)
    (probability,) = probabilities(run, own, [behind(own, 2)], ALLOW)
    best = np.argsort(-probability, kind="stable")
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == "what comes next for user u2, of 7 items"
    assert [line.split()[1] for line in lines[2:4]] == [own.spec.items[i] for i in best[:2]]
    assert lines[-1] == "here"
    assert max(map(len, lines)) <= 100
    assert f"behind 9 events, the last: {', '.join(HISTORIES['u2'][-3:])}" in lines
    threshold = threshold_of(run, "0.5")
    assert f"would ask the expert: {threshold.verdict(margin_of(probability))}" in shown.out
    table = pd.read_csv(folder / "here" / "next.csv")
    assert table["item"].tolist() == [own.spec.items[i] for i in best]
    assert table["probability"].sum() == pytest.approx(1, abs=1e-5)
    assert not table["simulated"].any()


def test_a_new_user_and_a_known_one_with_another_history(
    attn: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_history(folder, "u1")
    assert recommend(attn, f"--user new --history {file} -o new --level 0.5") == 0
    assert "user new: the profile (age) is taken as the training mean" in capsys.readouterr().err
    assert recommend(attn, f"--user u1 --history {file} -o u1 --level 0.5") == 0
    assert "the history of u1 is that of history.csv" in capsys.readouterr().err
    assert recommend(attn, "--user u1 -o known --level 0.5") == 0
    new, with_file, known = ((folder / n / "next.csv").read_text() for n in ("new", "u1", "known"))
    assert with_file == known != new
    (folder / "short.csv").write_text("item\na\n")
    assert recommend(attn, "--history short.csv --level 0.5") == 0
    assert "1 past events: the run was trained behind 3 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "needs --user ID, or --history FILE of a new person"),
        (
            "--user x9",
            "no user x9 (they have u0, u1, u2, ...); --history FILE (CSV: item, time, su",
        ),
        ("--user u11", "the data have no user u11; did you mean u1?"),
        ("--user u1 --top 0", "--top 0: a whole number above 0"),
        ("--user u1 --level 5", "--level 5: a share between 0 and 1"),
        ("--user u1 --level nan", "--level nan: a share between 0 and 1"),
        ("--user u1 --level 0.001", "a level of 0.001 needs 999 held-out margins or more, got 36"),
        ("--user u1 --history none.csv", "none.csv: cannot be read"),
        ("--user u1 --target 140", "--target of fitexp recommend is for runs of kind workouts"),
        ("--user u1 more", "what is 'more'?"),
    ],
)
def test_mistakes(attn: Run, words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert recommend(attn, words) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("predict RUN ride.fit", ("recommend", "ask", "replay")),
        ("explain RUN", ("recommend", "ask", "replay")),
        (
            "evaluate RUN data.path=there",
            ("evaluate RUN adapt=NAME or expert=NAME", "recommend RUN"),
        ),
    ],
)
def test_what_is_for_other_runs_names_what_to_use(
    words: str, wanted: tuple[str, ...], attn: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words.replace("RUN", str(attn.path)).split()) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert all(f"fitexp {name}" in shown for name in wanted)


def test_a_leaks_sentinel_answers_nobody(
    folder: Path, attn: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run = exercise_run(folder / "run")
    config = run.file("config.yaml")
    text = config.read_text()
    config.write_text(text.replace("exercise_attn.ExerciseAttn", "counters.SameProfile"))
    assert recommend(run, "--user u1 --level 0.5") == 2
    assert "SameProfile shows a leak, it answers nobody" in capsys.readouterr().err


def test_simulated_is_said(attn: Run) -> None:
    spec = dataclasses.replace(ExerciseSpec.from_dict(attn.spec), simulated=True)
    threshold = threshold_of(attn, "0.5")
    text = summary(spec, "u1", ["a"], 9, np.full(7, 1 / 7), 5, threshold)
    assert text.splitlines()[0].endswith("MODEL TRAINED ON SIMULATED DATA")


def test_a_question_without_a_past_is_answered(run: Run) -> None:
    own = worker.own_data(run, ALLOW)
    nobody = Question(
        items=np.zeros(0, np.int64),
        features=np.zeros((0, 4), np.float32),
        profile=np.full(1, np.nan, np.float32),
    )
    (found,) = probabilities(run, own, [nobody], ALLOW)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1, abs=1e-5)
