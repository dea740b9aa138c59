"""`_target_`s: what may be built, which keys they take."""

from __future__ import annotations

import dataclasses
import importlib
import re
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitexp import targets
from fitexp.errors import InputError

DANGEROUS = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "builtins.exec",
    "shutil.rmtree",
    "pathlib.Path",
    "torch.load",
    "torch.hub.load",
    "torch.nn.init.torch.load",
    "torch.nn.init.torch",
    "torch.nn.modules.module.torch.load",
    "torch.optim.optimizer.os.system",
    "torch.nn.functional.importlib.import_module",
    "torch.nn.modules.rnn.warnings.warn",
    "fitexp.cli.os.system",
    "fitexp.cli.os",
    "fitexp.cli.main",
    "fitexp.cli.shutil.rmtree",
    "fitexp.run.write_text",
    "fitexp.run.Run",
    "fitexp.worker.train",
    "fitexp.targets.locate",
    "fitexp.data.prepare.shutil.rmtree",
    "fitexp.data.prepare.cached",
    "fitexp.data.splits.np.load",
    "fitexp.report.results.write_results",
    "fitexp.errors.InputError.__init__",
    "fitexp.errors.__builtins__",
    "fitexp..run",
    "fitexp.",
    "fitexp",
    ".os.system",
    "os",
    "",
    "fitexp.data.spec.dataclass",  # imported there, defined elsewhere
    "torch.nn.Module.__init__",
]


@pytest.mark.parametrize("dotted", DANGEROUS)
def test_dangerous_names_are_not_located(dotted: str) -> None:
    with pytest.raises(InputError):
        targets.locate(dotted)


@pytest.mark.parametrize("dotted", [None, 3, ["fitexp.data.spec.Spec"], b"fitexp.data.spec.Spec"])
def test_what_is_not_a_name_is_not_located(dotted: object) -> None:
    with pytest.raises(InputError):
        targets.locate(dotted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "dotted",
    ["fitexp.data.spec.Spec", "torch.optim.Adam", "torch.nn.LSTM", "torch.nn.functional.relu"],
)
def test_allowed_names_are_located(dotted: str) -> None:
    assert targets.locate(dotted).__name__ == dotted.rpartition(".")[2]


_WORD = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=8)
_PART = _WORD | st.sampled_from(
    [*{part for name in DANGEROUS for part in name.split(".") if part}, "data", "spec", "nn"]
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(_PART, min_size=1, max_size=5))
def test_only_what_is_defined_in_allowed_places_is_located(parts: list[str]) -> None:
    dotted = ".".join(parts)
    try:
        found = targets.locate(dotted)
    except InputError:
        return
    assert f"{found.__module__}.".startswith(targets.DEFAULT_ALLOW)
    assert f"{dotted}.".startswith(targets.DEFAULT_ALLOW)
    assert not f"{found.__module__}.".startswith(tuple(f"{name}." for name in targets.NEVER))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=30) | st.lists(_PART, min_size=1, max_size=4).map(".".join))
def test_modules_outside_the_allowed_prefixes_are_not_even_imported(text: str) -> None:
    if text.startswith(targets.DEFAULT_ALLOW):
        return

    def refuse(name: str) -> None:
        raise AssertionError(f"imported {name}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib, "import_module", refuse)
        with pytest.raises(InputError):
            targets.locate(text)


def test_the_user_may_allow_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=re.escape("--allow string.")):
        targets.locate("string.Template")
    assert targets.locate("string.Template", ["string."]) is string.Template
    assert targets.locate("string.Template", ["string"]) is string.Template
    assert targets.locate("string.Template", ["string.Template"]) is string.Template
    assert targets.locate("string.Template", targets.ANYTHING) is string.Template
    monkeypatch.setenv("FITEXP_ALLOW", "nothing., string.")
    assert targets.locate("string.Template") is string.Template
    with pytest.raises(InputError):
        targets.locate("stringprep.in_table_a1")


def test_missing_modules_and_names_are_told_apart() -> None:
    with pytest.raises(InputError, match=r"there is no module fitexp\.models\.nowhere"):
        targets.locate("fitexp.models.nowhere.Net")
    with pytest.raises(InputError, match=r"no Spek in fitexp\.data\.spec; did you mean Spec\?"):
        targets.locate("fitexp.data.spec.Spek")
    with pytest.raises(InputError, match="neither a class nor a function"):
        targets.locate("fitexp.data.spec.UNKNOWN")


def test_a_module_that_lacks_a_package_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="not_installed_anywhere: it is not installed"):
        targets.locate("needy.Net", targets.ANYTHING)


SCALE = {"_target_": "fitexp.data.spec.Scale", "mean": 1.0, "sd": 2.0}


def test_build_calls_the_target_with_keys_and_injected() -> None:
    made = targets.build(SCALE, factor=3.0)
    assert (made.mean, made.sd, made.factor) == (1.0, 2.0, 3.0)
    later = targets.partial({"_target_": "fitexp.data.spec.Scale", "mean": 1.0}, later=("sd",))
    assert later(sd=5.0).sd == 5.0


def test_wrong_keys_name_the_closest() -> None:
    with pytest.raises(InputError, match=r"no key 'a\.men'.*did you mean a\.mean\?"):
        targets.check_keys({**SCALE, "men": 3}, where="a")
    with pytest.raises(InputError, match="it takes mean, sd, factor"):
        targets.check_keys({**SCALE, "zzzzzz": 3})
    with pytest.raises(InputError, match="sd is missing"):
        targets.check_keys({"_target_": "fitexp.data.spec.Scale", "mean": 1.0})
    with pytest.raises(InputError, match="is given by fitexp"):
        targets.check_keys(SCALE, injected=("mean",))
    with pytest.raises(InputError, match="_target_ is missing"):
        targets.check_keys({"mean": 1.0}, where="a")
    targets.check_keys(SCALE)
    targets.check_keys({"_target_": "fitexp.data.spec.Scale"}, injected=("mean", "sd"))


@pytest.mark.parametrize(
    ("word", "known", "near"),
    [
        ("max_epoch", ["trainer.max_epochs", "trainer.max_steps"], "trainer.max_epochs"),
        ("trainer.max_epoch", ["trainer.max_epochs", "trainer.max_steps"], "trainer.max_epochs"),
        ("modle", ["model", "data", "seed"], "model"),
        ("lr", ["optimizer.lr", "seed", "loss"], "optimizer.lr"),
        ("zzz", ["model", "data"], None),
        ("x", [], None),
    ],
)
def test_closest(word: str, known: list[str], near: str | None) -> None:
    assert targets.closest(word, known) == near


@pytest.mark.parametrize(
    "protocol",
    [
        "fitexp.data.workouts.protocol.Workouts",
        "fitexp.data.exercises.protocol.Exercises",
        "fitexp.data.windows.protocol.Windows",
    ],
)
def test_what_a_protocol_takes_without_can_be_null_on_the_command_line(protocol: str) -> None:
    module, _, name = protocol.rpartition(".")
    fields = dataclasses.fields(getattr(importlib.import_module(module), name))
    nullable = [field.name for field in fields if "None" in str(field.type).split(" | ")]
    assert "path" in nullable
    for key in nullable:
        targets.check_value(f"data.{key}", None, 4)
    with pytest.raises(InputError, match="takes a whole number"):
        targets.check_value("data.batch_size", None, 4)
