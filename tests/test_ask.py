"""`fitexp ask`: questions to an expert, answers that are never lost, runs tuned on them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitexp import ask, cli, worker
from fitexp.checkpoints import load_checkpoint
from fitexp.data.exercises.answers import Answer, read_answers, read_log
from fitexp.data.exercises.protocol import arrays_of
from fitexp.data.exercises.questions import answering, asked, at, behind
from fitexp.errors import InputError
from fitexp.fine_tuning import BESIDE, fine_tuned
from fitexp.recommend_exercises import margin_of, probabilities, threshold_of
from fitexp.run import BEST, INTERRUPTED, PREDICTIONS, Run
from tests.data.exercises.made import made_table, protocol
from tests.exercise_run import ALLOW, HISTORIES, exercise_run

USERS = {user: f"{user}:9" for user in HISTORIES}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return exercise_run(tmp_path_factory.mktemp("runs") / "attn", model__rescale=True)


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    """A run of one's own, to be asked."""
    shutil.copytree(made.path, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITEXP_ALLOW", "tests.")
    return tmp_path


def tell(run: Run, words: str) -> int:
    return cli.main(["ask", str(run.path), *words.split()])


def write(text: str, name: str = "a.csv") -> None:
    Path(name).write_text(text)


def state(run: Run) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(run.file(BEST))["state_dict"])


def files(run: Run) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(run.path.rglob("*")) if p.is_file()}


# Questions


def test_the_queue_holds_who_is_below_the_threshold(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    own = worker.own_data(run, ALLOW)
    found = probabilities(run, own, [behind(own, user) for user in range(6)], ALLOW)
    margins, threshold = margin_of(found), threshold_of(run, "0.5").margin
    assert 0 < (margins < threshold).sum() < 6
    assert tell(run, "--queue q.csv --level 0.5") == 0
    shown = capsys.readouterr().out.splitlines()
    queue = pd.read_csv("q.csv", dtype=str, keep_default_na=False)
    order = np.argsort(margins)[: (margins < threshold).sum()]
    assert queue["user"].tolist() == [f"u{user}" for user in order]
    assert queue["question"].tolist() == [f"u{user}:9" for user in order]
    assert set(queue["item"]) == {""}
    for row, user in zip(queue.itertuples(), order, strict=True):
        best = np.sort(found[user])[::-1]
        tops = [getattr(row, f"p_{rank}") for rank in range(1, 6)]
        assert tops == [f"{p:.6f}" for p in best[:5]]
        assert row.item_1 == own.spec.items[found[user].argmax()]
        assert row.margin == f"{margins[user]:.6f}"
        assert row.last_items == "; ".join(HISTORIES[f"u{user}"][-3:])
    share = 100 * len(order) / 6
    assert shown[0] == f"{len(order)} of 6 questions need an expert ({share:.1f} %)"
    assert shown[-1] == "q.csv"


def test_a_queue_is_not_written_over_and_may_be_of_some_users(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell(run, "--queue q.csv --level 0.9 --user u3 --user u1") == 0
    assert capsys.readouterr().out.splitlines()[0].split()[2] == "2"
    before = Path("q.csv").read_text()
    assert tell(run, "--queue q.csv") == 2
    assert "q.csv is there and may hold answers" in capsys.readouterr().err
    assert Path("q.csv").read_text() == before


def test_the_queue_with_the_answers_written_in_is_the_answers(run: Run) -> None:
    assert tell(run, "--queue q.csv --level 0.9") == 0
    queue = pd.read_csv("q.csv", dtype=str, keep_default_na=False)
    assert len(queue) >= 2
    queue.loc[0, "item"] = "c"
    queue.to_csv("q.csv", index=False)
    assert tell(run, "--answers q.csv") == 0
    log = read_log(run.path, USERS, "abcdefg")
    assert [(a.question, a.item) for a in log] == [(queue["question"][0], "c")]
    assert tell(run, "--queue rest.csv --level 0.9") == 0
    rest = pd.read_csv("rest.csv", dtype=str)
    assert rest["question"].tolist() == queue["question"][1:].tolist()


# Answers


def test_all_mistakes_are_said_at_once_and_nothing_changes(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    write("user,item\nu1,a\n", "first.csv")
    assert tell(run, "--answers first.csv") == 0
    before = files(run)
    capsys.readouterr()
    write("question,user,item\n,u2,b\n,u11,b\nu3:8,,a\n,u2,c\n,u1,b\nu4:9,u5,a\n,u4,z\n,,a\n,u5,\n")
    assert tell(run, "--answers a.csv") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "fitexp: a.csv, line 3, user: the data have no user 'u11'; did you mean u1?",
        "fitexp: a.csv, line 4, question: no question 'u3:8'; did you mean u3:9?",
        "fitexp: a.csv, line 5, u2:9 is answered twice, first in line 2; keep one",
        "fitexp: a.csv, line 6, u1:9 was answered before, with 'a'; leave it out",
        "fitexp: a.csv, line 7, user: question u4:9 is about u4, not u5",
        "fitexp: a.csv, line 8, item: 'z' is none of the 7 items of the data",
        "fitexp: a.csv, line 9, question: empty; say which question or which user",
        "fitexp: a.csv: 7 mistakes; no answer was taken",
    ]
    assert files(run) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "has no answers yet: fitexp ask RUN --queue FILE"),
        ("--answers a.csv --queue q.csv", "--queue writes questions, --answers reads answers"),
        ("--answers a.csv --level 0.1", "--level goes with --queue"),
        ("--queue q.csv --update all", "--update goes with --answers"),
        ("--answers a.csv --update some", "--update some: it is one of last_layer, all"),
        ("--answers none.csv", "none.csv: cannot be read"),
        ("--answers odd.csv", "odd.csv, line 1: no column 'item'; did you mean its column 'itm'?"),
        ("--queue q.csv --user u77", "the data have no user u77 (they have u0, u1, u2, ...)"),
        ("--queue run/config.yaml/q.csv", "cannot make run/config.yaml"),
        ("--anwers a.csv", "no option '--anwers'; did you mean --answers?"),
        ("a.csv", "what is 'a.csv'?"),
    ],
)
def test_mistakes(run: Run, words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("user,item\nu1,a\n")
    write("user,itm\nu1,a\n", "odd.csv")
    before = files(run)
    assert tell(run, words) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert files(run) == before


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text('u019:,abz\n" \r', max_size=80))
def test_any_file_of_answers_is_read_or_refused_in_words(folder: Path, text: str) -> None:
    Path("any.csv").write_text("question,user,item\n" + text, newline="")
    try:
        found = read_answers(Path("any.csv"), USERS, "abcdefg", [])
    except InputError as error:
        said = [str(error)]
    else:
        said = found.mistakes
        ids = [answer.question for answer in found.new]
        assert len(set(ids)) == len(ids)
        assert all(USERS[a.user] == a.question and a.item in "ab" for a in found.new)
    assert all(line.startswith("any.csv, line ") for line in said)


def test_a_damaged_log_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.file("answers.csv").write_text("question,user,item,answered\nu1:9,u1,zz,now\n")
    assert tell(run, "") == 2
    assert "run/answers.csv, line 2, item: 'zz' is none of the 7" in capsys.readouterr().err


# The tuned run


def test_only_the_last_layer_of_the_fold_that_answers_people_moves(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    write("user,item\n" + "".join(f"{user},d\n" for user in USERS))
    assert tell(run, "--answers a.csv") == 0
    child = Run(run.path / "answered" / "1")
    assert capsys.readouterr().out.splitlines()[-1] == str(child.path)
    before, after = state(run), state(child)
    assert list(before) == list(after)
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert moved == ["model.W_y.weight", "model.W_y.bias"]
    for name in moved:
        assert torch.equal(before[name][:-1], after[name][:-1])  # six folds leave a user out
    assert child.status == "finished"
    made = child.manifest
    assert (made["parent"], made["answers"], made["update"]) == (str(run.path), 6, "last_layer")
    assert made["identity"] != run.manifest["identity"]
    assert made["tested"].endswith("which answers do not touch: as the parent's")
    pd.testing.assert_frame_equal(*(pd.read_parquet(r.file(PREDICTIONS)) for r in (run, child)))
    assert child.metrics == run.metrics
    own = worker.own_data(child, ALLOW)
    questions = [behind(own, user) for user in range(6)]
    old, new = (probabilities(r, own, questions, ALLOW)[:, 3] for r in (run, child))
    assert (new > old).all()


@pytest.mark.parametrize(
    ("model", "changed", "update"),
    [
        ("exercise_attn", {}, "last_layer"),
        pytest.param("exercise_attn", {}, "all", marks=pytest.mark.slow),
        pytest.param("gru4rec", {"data__split": "last_part"}, "last_layer", marks=pytest.mark.slow),
        ("gru4rec", {"data__split": "last_part"}, "all"),
    ],
)
def test_tuning_is_two_steps_of_adam_on_answers_and_training_rows(
    model: str, changed: dict[str, Any], update: str, folder: Path
) -> None:
    """Against a loop over rows, each asked alone, with weights from torch's own Adam."""
    run = exercise_run(folder / "own", model, model__dropout=0.0, **changed)
    own = worker.own_data(run, ALLOW)
    answered = [behind(own, 1, answer=3), behind(own, 5, answer=0)]
    checkpoint, _ = fine_tuned(run, own, answered, update, ALLOW)
    fold = answering(own.spec)
    trained = np.flatnonzero(np.asarray(own.arrays["part"])[fold] == 0)
    beside = np.random.default_rng([0, 2]).choice(trained, min(BESIDE, len(trained)), replace=False)
    rows = [*answered, *(at(own, int(event)) for event in beside)]
    network = worker.network(run, own, ALLOW)
    assert network is not None
    last = {"exercise_attn": "W_y.", "gru4rec": "head."}[model]
    weights = [
        (name, values)
        for name, values in network.named_parameters()
        if update == "all" or name.startswith(last)
    ]
    adam = torch.optim.Adam([values for _, values in weights], lr=0.01)
    for _ in range(2):
        losses = []
        for row in rows:
            data = worker.build_data(run.config, asked(own, [row], "test"), ALLOW)
            (batch,) = list(data.tested("test"))
            place = int(batch["mask"][fold, 0].argmax())
            inputs = {k: v for k, v in batch.items() if k not in ("target", "mask", "event")}
            probability = network(inputs)[fold, 0, place].softmax(dim=-1)
            losses.append(-probability[row.answer].log())
        adam.zero_grad()
        torch.stack(losses).mean().backward()
        adam.step()
    start = state(run)
    for name, values in network.named_parameters():
        found = checkpoint["state_dict"][f"model.{name}"]
        torch.testing.assert_close(found, values.detach(), rtol=0, atol=2e-5)
        touched = any(name == other for other, _ in weights)
        assert touched or torch.equal(found, start[f"model.{name}"])


def test_of_a_single_fold_the_tuned_model_is_tested(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = {"data__split": "held_out_users", "data__fractions": [0.5, 0.0, 0.5]}
    run = exercise_run(folder / "own", "gru4rec", **shares)
    tested = sorted(set(pd.read_parquet(run.file(PREDICTIONS))["user_id"]))
    assert len(tested) == 3
    write("user,item\n" + "".join(f"{user},a\n" for user in [tested[0], *{*USERS} - {*tested}]))
    assert tell(run, "--answers a.csv --update all") == 0
    child = Run(run.path / "answered" / "1")
    said = "by the tuned model; 1 of 4 answers are about users of the test"
    assert child.manifest["tested"] == said
    assert child.metrics != run.metrics
    assert f"tested {said}" in capsys.readouterr().out


def test_counters_take_no_answers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = exercise_run(folder / "own", "trigram")
    write("user,item\nu1,a\n")
    before = files(run)
    assert tell(run, "--answers a.csv") == 2
    assert "has no network to tune on answers (NextCounter)" in capsys.readouterr().err
    assert files(run) == before
    assert tell(run, "--queue q.csv --level 0.5") == 0


@pytest.mark.slow  # three tests of a run
def test_a_tuned_run_is_asked_and_tuned_in_its_turn(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    write("user,item\nu1,a\n")
    assert tell(run, "--answers a.csv") == 0
    child = Run(run.path / "answered" / "1")
    assert cli.main(["recommend", str(child.path), "--user", "u1", "--level", "0.5"]) == 0
    assert tell(child, "--queue q.csv --level 0.9") == 0
    assert "u1" not in pd.read_csv("q.csv")["user"].tolist()
    assert tell(child, "") == 0
    assert f"nothing new: {child.path} was tuned on all 1 answers" in capsys.readouterr().out
    write("user,item\nu2,c\n", "b.csv")
    assert tell(child, "--answers b.csv") == 0
    grandchild = Run(child.path / "answered" / "1")
    assert grandchild.manifest["answers"] == 2
    assert grandchild.manifest["parent"] == str(child.path)
    own = worker.own_data(child, ALLOW)
    checkpoint, _ = fine_tuned(child, own, [behind(own, 2, answer=2)], "last_layer", ALLOW)
    for name, values in state(grandchild).items():
        assert torch.equal(values, checkpoint["state_dict"][name])
    assert cli.main(["rerun", str(child.path)]) == 2
    assert "was tuned on answers: rerun the run it is of" in capsys.readouterr().err


# Interruptions


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("place", "again"), [("before the run", "--answers a.csv"), ("in the run", "")]
)
def test_what_is_interrupted_behind_the_log_is_finished_from_it(
    run: Run,
    folder: Path,
    place: str,
    again: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("user,item\nu1,a\nu4,b\n")
    whole = Run(shutil.copytree(run.path, folder / "whole"))
    assert tell(whole, "--answers a.csv") == 0
    with monkeypatch.context() as patch:
        if place == "before the run":
            patch.setattr(ask, "tuned_run", interrupted)
        else:
            patch.setattr(worker, "test", interrupted)
        assert tell(run, "--answers a.csv") == 130
    log = run.file("answers.csv").read_text()
    assert [line.split(",")[:3] for line in log.splitlines()[1:]] == [
        ["u1:9", "u1", "a"],
        ["u4:9", "u4", "b"],
    ]
    if place == "in the run":
        assert Run(run.path / "answered" / "1").status == INTERRUPTED
    assert tell(run, again) == 0
    assert run.file("answers.csv").read_text() == log
    assert [path.name for path in (run.path / "answered").iterdir()] == ["1"]
    one, other = state(Run(run.path / "answered" / "1")), state(Run(whole.path / "answered" / "1"))
    assert all(torch.equal(one[name], other[name]) for name in other)
    before = files(run)
    assert tell(run, again) == 0  # nothing new
    assert files(run) == before


def test_an_interruption_before_the_log_takes_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("user,item\nu1,a\n")
    before = files(run)
    with monkeypatch.context() as patch:
        patch.setattr(ask, "write_text", interrupted)
        assert tell(run, "--answers a.csv") == 130
    assert files(run) == before


def test_more_answers_are_tuned_on_together_with_the_first(run: Run) -> None:
    write("user,item\nu1,a\n")
    assert tell(run, "--answers a.csv") == 0
    write("user,item\nu1,a\nu4,b\n")
    assert tell(run, "--answers a.csv") == 0
    log = read_log(run.path, USERS, "abcdefg")
    assert [(answer.user, answer.item) for answer in log] == [("u1", "a"), ("u4", "b")]
    assert all(isinstance(answer, Answer) and answer.answered for answer in log)
    assert Run(run.path / "answered" / "2").manifest["answers"] == 2
    assert tell(run, "--update all") == 0
    assert Run(run.path / "answered" / "3").manifest["update"] == "all"


def test_the_second_of_two_waits_for_the_first(run: Run) -> None:
    import fcntl
    import os

    def locked() -> bool:
        handle = os.open(run.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    with ask.only_one(run):
        assert locked()
    assert not locked()


def test_copies_of_histories_ask_nothing() -> None:
    table = made_table({"ann": "abcab", "bob": "bbca", "cid": "cabc"})
    own = arrays_of(protocol(augment="duplicate"), table)
    assert len(own.arrays["user_id"]) == 6
    assert ask.question_ids(own) == {"ann": "ann:5", "bob": "bob:4", "cid": "cid:4"}
