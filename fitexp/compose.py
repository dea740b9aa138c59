"""What `fitexp train` and `fitexp data` ask of Hydra: its command line, a config, clear mistakes.

Hydra runs the command line as it does for any application; before and around it stand checks that
it does not make (added keys, types of values) and one-line messages. Hydra is imported lazily.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from fitexp import targets
from fitexp.errors import InputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from hydra._internal.hydra import Hydra
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

CONFIG_PATH = "pkg://fitexp.conf"
CONFIG_NAME = "train"
TABLE = "table"  # config group of the papers' tables, no part of a run's config
PROTOCOL = "protocol"  # config group that stands for keys of data, which say it all

# Keys of YAML files that no class takes -> the key of data whose value they depend on, or list.
HELPERS = {
    "for_target": "target",
    "for_grid": "grid",
    "for_regime": "regime",
    "batch_for": "regime",
    "splits": "split",
}

# Arguments that fitexp gives to a node's target itself.
INJECTED: Mapping[str, tuple[str, ...]] = {
    "data": (),
    "adapt": (),
    "expert": (),
    "data.source": ("path",),
    "model": ("spec",),
    "loss": ("prediction", "target"),
    "optimizer": ("params",),
    "task": ("model", "loss", "optimizer", "spec"),
}
OPTIONAL = ("adapt", "expert")  # nodes that a config may lack: what a test does besides
BASELINES = "data.baselines"  # nodes of models that stand beside every run
TRAINER = "pytorch_lightning.Trainer"

# Choices that come with other packages -> what to install.
EXTRAS = {("hydra/launcher", "joblib"): "fitexp[sweep]"}

# Hydra's options -> number of values they take (None: one or none).
FLAGS: Mapping[str, int | None] = {
    "--help": 0,
    "--hydra-help": 0,
    "--resolve": 0,
    "--run": 0,
    "--multirun": 0,
    "--shell-completion": 0,
    "--cfg": 1,
    "--package": 1,
    "--config-path": 1,
    "--config-name": 1,
    "--config-dir": 1,
    "--info": None,
}
SHORT = {
    "-h": "--help",
    "-r": "--run",
    "-m": "--multirun",
    "-sc": "--shell-completion",
    "-c": "--cfg",
    "-p": "--package",
    "-cp": "--config-path",
    "-cn": "--config-name",
    "-cd": "--config-dir",
    "-i": "--info",
}


@dataclass(frozen=True)
class Job:
    """One composed config and where its run folder is to lie.

    known: the primary config as it is without overrides. choices: config group -> choice.
    overrides: of this job, as typed. folder: the run folder the user named (hydra.run.dir), else
    None. sweep: the folder of a multirun's runs, else None. swept: keys and groups that a
    multirun varies. number: of the job in it, from 1; total: how many it has, None where only
    its sweeper knows.
    """

    resolve: Callable[[str | None], dict[str, Any]]
    known: Mapping[str, Any]
    choices: dict[str, str]
    overrides: list[str]
    folder: Path | None
    sweep: Path | None
    swept: frozenset[str] = frozenset()
    number: int = 1
    total: int | None = None

    @cached_property
    def config(self) -> dict[str, Any]:
        """Resolved, plain values. Raises InputError for a value that is missing or cannot be."""
        return self.resolve(None)

    @cached_property
    def only_data(self) -> dict[str, Any]:
        """`config` with its key data alone: the model that stands beside need not take them."""
        return self.resolve("data")


def run(argv: Sequence[str], task: Callable[[Job], None]) -> None:
    """Do what Hydra's command line in `argv` says; call `task` for every job.

    Hydra's launcher calls it, perhaps in another process, so it must be picklable by cloudpickle
    and must raise no Exception. Raises InputError for mistakes on the command line and in configs.
    """
    args = parse([_quoted_path(word) for word in argv])
    with _hydra(args) as (hydra, run_hydra):
        composer = Composer(hydra, args.config_name or CONFIG_NAME)
        try:
            multirun, settings = False, None
            if not (args.shell_completion or args.hydra_help or args.help):
                multirun, settings = composer.check(args)
            if args.cfg or args.info or settings is None:
                printed = io.StringIO()
                with redirect_stdout(printed), suppress(SystemExit):  # Hydra's --help exits
                    run_hydra(args, None)
                sys.stdout.write(printed.getvalue())
                return
            known = strip(composer.plain(composer.compose([])))
            varied = [o for o in composer.parse(args.overrides) if o.is_sweep_override()]
            swept = frozenset(str(o.key_or_group) for o in varied)
            total = composer.count(settings, args.overrides) if multirun else None
            with tempfile.TemporaryDirectory(prefix="fitexp-") as scratch:
                # Hydra makes its output folder before the job begins: not where a run shall lie.
                place = f"hydra.{'sweep' if multirun else 'run'}.dir='{scratch}'"
                args.overrides += [place, "hydra.job.chdir=false"]
                job = _job_runner(settings, multirun, known, swept, total, composer, task)
                if multirun:
                    composer.multirun(args.overrides, job)
                else:
                    run_hydra(args, job)
        except (InputError, BrokenPipeError):
            raise
        except Exception as error:
            raise InputError(composer.explain(error, args.overrides)) from error


def tables(options: Sequence[str]) -> list[str]:
    """Names of the config group `table`. options: Hydra's, as --config-dir."""
    with _hydra(parse(options)) as (hydra, _):
        return list(hydra.config_loader.get_group_options(TABLE))


def table(name: str, options: Sequence[str]) -> Any:
    """The values of one file of the config group `table`. Raises InputError."""
    with _hydra(parse(options)) as (hydra, _):
        composer = Composer(hydra, f"{TABLE}/{name}")
        try:
            return composer.plain(composer.compose([])).get(TABLE)
        except Exception as error:
            raise InputError(composer.explain(error, [])) from error


def node(group: str, choice: str) -> dict[str, Any] | None:
    """The values of one choice of a config group; None for null. Raises InputError."""
    if choice == "null":
        return None
    with _hydra(parse([])) as (hydra, _):
        composer = Composer(hydra, f"{group}/{choice}")
        try:
            values: dict[str, Any] = composer.plain(composer.compose([]))[group]
            return values
        except Exception as error:
            raise InputError(composer.explain(error, [])) from error


def data_choices(
    experiments: Sequence[str], overrides: Sequence[str], options: Sequence[str]
) -> set[str]:
    """What `data` the experiments choose under overrides, each of which must name one value."""
    with _hydra(parse(options)) as (hydra, _):
        composer = Composer(hydra, CONFIG_NAME)
        try:
            for override in composer.parse(overrides):
                if override.is_sweep_override() or override.key_or_group in ("experiment", "seed"):
                    raise InputError(
                        f"{override.input_line}: the rows of a table have their experiments, and "
                        "seeds by --seeds; an override holds for all of them and names one value"
                    )
            rows = [composer.compose([f"experiment={name}", *overrides]) for name in experiments]
        except InputError:
            raise
        except Exception as error:
            raise InputError(composer.explain(error, overrides)) from error
        return {_choices(cfg.hydra)["data"] for cfg in rows}


def _quoted_path(word: str) -> str:
    """`data.path=~/my rides` as Hydra's grammar wants it: quoted, unless it is or is a sweep."""
    key, equals, value = word.partition("=")
    plain = re.fullmatch(r"[\w./:+@%-]*", value, re.ASCII) or value[:1] in "'\"[{$"
    if not equals or key != "data.path" or plain or "," in value:
        return word
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


def _job_runner(
    settings: DictConfig,
    multirun: bool,
    known: Mapping[str, Any],
    swept: frozenset[str],
    total: int | None,
    composer: Composer,
    task: Callable[[Job], None],
) -> Callable[[DictConfig], None]:
    def job(cfg: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf

        hydra = HydraConfig.get()
        overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)

        def resolve(key: str | None) -> dict[str, Any]:
            try:
                return resolved(cfg, key)
            except Exception as error:
                raise InputError(composer.explain(error, overrides)) from error

        folder, sweep, number = None, None, 1
        if multirun:
            sweep, number = Path(settings.sweep.dir), int(hydra.job.num) + 1
            folder = None if hydra.sweep.subdir == "." else sweep / hydra.sweep.subdir
        elif settings.run.dir != ".":
            folder = Path(settings.run.dir)
        choices = _choices(hydra)
        task(Job(resolve, known, choices, overrides, folder, sweep, swept, number, total))

    job.__module__ = "fitexp"  # Hydra names the application after it
    return job


def _choices(hydra: Any) -> dict[str, str]:
    """Config group -> choice, Hydra's own groups and PROTOCOL aside."""
    return {
        group: str(choice)
        for group, choice in hydra.runtime.choices.items()
        if choice is not None
        and group != PROTOCOL
        and not group.startswith("hydra/")
        and "@" not in group
    }


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Hydra's arguments, its options wherever they stand. Raises InputError."""
    from hydra._internal.utils import get_args_parser

    options: list[str] = []
    overrides: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            overrides.append(word)
            continue
        name, equals, value = word.partition("=")
        name = SHORT.get(name, name)
        if name == "--experimental-rerun":
            raise InputError("--experimental-rerun reads pickles; use: fitexp resume RUN")
        if name not in FLAGS:
            near = targets.closest(name, FLAGS)
            raise InputError(f"no option '{word}'{targets.did_you_mean(near)}")
        takes = FLAGS[name]
        if takes is None:
            kinds = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
            if not equals:
                value = words.pop(0) if words and words[0] in kinds else "all"
        elif takes == 1 and not equals:
            if not words or words[0].startswith("-"):
                raise InputError(f"{word} needs a value")
            value = words.pop(0)
        elif takes == 0 and equals:
            raise InputError(f"{name} takes no value")
        options.append(name if takes == 0 else f"{name}={value}")

    def error(message: str) -> NoReturn:
        raise InputError(message)

    parser = get_args_parser()
    parser.error = error  # type: ignore[assignment,method-assign,unused-ignore]
    args = parser.parse_args([*options, *overrides])
    if args.config_path is not None and "://" not in args.config_path:
        args.config_path = os.path.abspath(args.config_path)
    return args


RunHydra = Callable[[argparse.Namespace, "Callable[[DictConfig], None] | None"], None]


@contextmanager
def _hydra(args: argparse.Namespace) -> Iterator[tuple[Hydra, RunHydra]]:
    """Hydra for composing, and what runs its command line; both with our search path."""
    from hydra import version
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import _run_hydra, create_config_search_path, get_args_parser
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.global_hydra import GlobalHydra

    version.setbase("1.3")
    _register_search_path()
    path = args.config_path or CONFIG_PATH
    search = create_config_search_path(path)
    if args.config_dir is not None:
        if not os.path.isdir(args.config_dir):
            raise InputError(f"--config-dir {args.config_dir}: no such folder")
        folder = f"file://{os.path.abspath(args.config_dir)}"
        search.prepend("command-line", folder, SearchPathQuery(provider="schema"))

    def run_hydra(args: argparse.Namespace, task: Callable[[DictConfig], None] | None) -> None:
        GlobalHydra.instance().clear()
        _run_hydra(args, get_args_parser(), task or _nothing, path, CONFIG_NAME)

    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors are raised, not printed
    GlobalHydra.instance().clear()
    try:
        yield Hydra.create_main_hydra2("fitexp", search), run_hydra
    finally:
        GlobalHydra.instance().clear()
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def _nothing(cfg: DictConfig) -> None: ...


_nothing.__module__ = "fitexp"


def _register_search_path() -> None:
    """Let Hydra read the configs of other packages (`targets.config_packages`) too.

    They stand behind fitexp's own, and --config-dir's behind them (`Composer.check_sources`).
    """
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class PackagedConfigs(SearchPathPlugin):
        packages: ClassVar[list[EntryPoint]] = []

        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for entry in self.packages:
                search_path.append(f"{targets.ENTRY_POINTS}:{entry.name}", f"pkg://{entry.value}")

    plugin: Any = PackagedConfigs
    for known in Plugins.instance().discover(SearchPathPlugin):
        if known.__name__ == plugin.__name__:
            plugin = known
    if plugin is PackagedConfigs:
        Plugins.instance().register(plugin)
    plugin.packages = [entry for entry in targets.config_packages() if _there(entry)]


def _there(entry: EntryPoint) -> bool:
    """Whether a package of configs can be imported; if not, a note names who brought it."""
    try:
        importlib.import_module(entry.value)
        return True
    except Exception as error:
        owner = entry.dist.name if entry.dist else entry.name
        reason = " ".join(str(error).split()) or type(error).__name__
        print(
            f"fitexp: left out the configs of {owner}: {entry.value} cannot be imported "
            f"({reason}); install {owner} again or uninstall it",
            file=sys.stderr,
        )
        return False


class Composer:
    """Composes configs by Hydra's loader, checks overrides against them, explains errors."""

    def __init__(self, hydra: Hydra, name: str) -> None:
        self.hydra = hydra
        self.name = name

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of one run with Hydra's own node, interpolations unresolved."""
        from hydra.types import RunMode

        return self.hydra.compose_config(self.name, list(overrides), RunMode.RUN)

    def plain(self, cfg: DictConfig) -> dict[str, Any]:
        """A config without Hydra's node as plain values, interpolations unresolved."""
        from omegaconf import OmegaConf

        values = OmegaConf.to_container(cfg, resolve=False)
        assert isinstance(values, dict)
        return {str(key): value for key, value in values.items() if key != "hydra"}

    def check(self, args: argparse.Namespace) -> tuple[bool, DictConfig]:
        """Compose what `args` ask for and check the overrides -> (is a multirun, hydra's node).

        Of a multirun every choice of a config group is composed once, beside the first values of
        the other sweeps, and keys are checked against what it brings; of other sweeps the values
        are checked.
        """
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode
        from omegaconf import OmegaConf

        overrides = self.parse(args.overrides)
        sweeps = [o for o in overrides if o.is_sweep_override()]
        multirun = bool(args.multirun)
        if not multirun and any(o.key_or_group == "hydra.mode" for o in overrides):
            own = [str(o.input_line) for o in overrides if o.is_hydra_override()]
            multirun = self.hydra.get_mode(self.name, own) == RunMode.MULTIRUN
        if sweeps and not multirun:
            raise InputError(
                f"{sweeps[0].input_line} names several values: add -m to run each of them (a "
                f"list is written {sweeps[0].get_key_element()}=[A,B])"
            )
        first = self.first(overrides)
        swept = [o for o in sweeps if self.is_group(o) and id(o) in first]
        cfg = self._checked(overrides, swept, first)
        for sweep in swept:
            for line in self.sweep_values(sweep)[1:]:
                self._checked(overrides, swept, {**first, id(sweep): line})
        HydraConfig.instance().set_config(cfg)  # for ${hydra:...}
        if args.package and args.package != "_global_":
            found = OmegaConf.select(cfg, args.package, throw_on_missing=False)
            if found is None:
                near = targets.closest(args.package, self.keys([], args.package))
                raise InputError(f"no package '{args.package}'{targets.did_you_mean(near)}")
        return multirun, cfg.hydra

    def _checked(
        self, overrides: Sequence[Override], swept: Sequence[Override], job: Mapping[int, str]
    ) -> DictConfig:
        """The config of one job, its keys and values checked. swept: groups; job: as `first`."""
        lines = list(job.values())
        try:
            cfg = self.compose(lines)
        except Exception as error:
            said = self.explain(error, lines)
            if swept and said.startswith("no key"):
                said = f"{' '.join(job[id(o)] for o in swept)}: {said}"
            raise InputError(said) from error
        self.check_sources(cfg)
        self.check_protocol(cfg)
        self.check_values(cfg, overrides, lines)
        return cfg

    def multirun(self, overrides: Sequence[str], job: Callable[[DictConfig], None]) -> None:
        """Run the jobs, as Hydra.multirun does, whose own config lacks what swept choices bring.

        Here it is the first job's: it names the sweeper and the launcher, which make each job's.
        """
        from hydra._internal.callbacks import Callbacks
        from hydra.core.plugins import Plugins
        from hydra.types import HydraContext, RunMode

        parsed = self.parse([*overrides, "hydra.mode=MULTIRUN"])
        lines = list(self.first(parsed).values())
        cfg = self.hydra.compose_config(self.name, lines, RunMode.RUN, with_log_configuration=True)
        typed = [str(o.input_line) for o in parsed if not o.is_hydra_override()]
        cfg.hydra.overrides.task = typed
        callbacks = Callbacks(cfg)
        callbacks.on_multirun_start(config=cfg, config_name=self.name)
        context = HydraContext(config_loader=self.hydra.config_loader, callbacks=callbacks)
        sweeper = Plugins.instance().instantiate_sweeper(
            config=cfg, hydra_context=context, task_function=job
        )
        sweeper.sweep(arguments=typed)
        callbacks.on_multirun_end(config=cfg, config_name=self.name)

    def first(self, overrides: Sequence[Override]) -> dict[int, str]:
        """Override lines of a sweep's first job by id of the override; none for an interval."""
        lines = {
            id(o): self.sweep_values(o) if o.is_sweep_override() else [str(o.input_line)]
            for o in overrides
        }
        return {key: found[0] for key, found in lines.items() if found}

    def parse(self, overrides: Sequence[str]) -> list[Override]:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        for override in overrides:
            if override.startswith("="):
                raise InputError(f"cannot read '{override}': an override is KEY=VALUE")
        parser = OverridesParser.create(config_loader=self.hydra.config_loader)
        return parser.parse_overrides(list(overrides))

    def sweep_values(self, override: Override) -> list[str]:
        """An override line for each value of a sweep; none for an interval."""
        if not override.is_discrete_sweep():
            return []
        key = override.get_key_element()
        return [f"{key}={value}" for value in override.sweep_string_iterator()]

    def count(self, settings: DictConfig, overrides: Sequence[str]) -> int | None:
        """Number of jobs of a multirun by Hydra's own sweeper; None for another one."""
        sweeper = settings.sweeper
        if not str(sweeper.get(targets.TARGET)).endswith("basic_sweeper.BasicSweeper"):
            return None
        params = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
        sizes = {}  # a later override of a key replaces an earlier one
        for override in self.parse([*params, *overrides]):
            if override.is_sweep_override() and not override.is_discrete_sweep():
                return None
            several = override.is_sweep_override()
            size = len(self.sweep_values(override)) if several else 1
            sizes[override.get_key_element()] = size
        return math.prod(sizes.values())

    def is_group(self, override: Override) -> bool:
        """Whether an override chooses a file of a config group."""
        key = override.key_or_group
        if override.package is not None or "/" in key:
            return True
        return "." not in key and key in self.groups()

    def choices(self, overrides: Sequence[str]) -> list[str]:
        """The overrides that choose files, of a sweep its first ones."""
        lines = self.first(self.parse(overrides)).values()
        return [str(o.input_line) for o in self.parse(list(lines)) if self.is_group(o)]

    def groups(self) -> list[str]:
        found = self.hydra.config_loader.list_groups("")
        return [name for name in found if name[:2] != "__" and name != TABLE]

    def check_sources(self, cfg: DictConfig) -> None:
        """Refuse a choice that is in two places: Hydra would take one without a word."""
        sources = self.hydra.config_loader.get_sources()
        for group, choice in cfg.hydra.runtime.choices.items():
            if group.startswith("hydra/"):
                continue
            file = f"{group.partition('@')[0]}/{choice}"
            places = [source.path for source in sources if source.is_config(file)]
            if len(places) > 1:
                raise InputError(
                    f"{group}={choice} is in {' and in '.join(places)}: rename yours, uninstall "
                    "its package or leave out --config-dir"
                )

    def check_protocol(self, cfg: DictConfig) -> None:
        """Refuse a protocol for data of another kind."""
        from omegaconf import OmegaConf

        choices = cfg.hydra.runtime.choices
        split, known = (OmegaConf.select(cfg, f"data.{key}") for key in ("split", "splits"))
        if known is None or split in known or split != choices.get(PROTOCOL):
            return
        near = targets.did_you_mean(targets.closest(split, known))
        raise InputError(
            f"{PROTOCOL}={split} is not for data={choices['data']}{near} "
            f"(choices: {', '.join(known)})"
        )

    def check_values(
        self, cfg: DictConfig, overrides: Sequence[Override], job: Sequence[str]
    ) -> None:
        """Refuse added keys that nothing takes, and values of another type than the YAML's.

        Against the config of one job, `cfg`, whose override lines are `job`.
        """
        from omegaconf import OmegaConf

        values = [
            o for o in overrides if not (o.is_delete() or o.is_hydra_override() or self.is_group(o))
        ]
        if not values:
            return
        before = self.compose(self.choices(job))
        for override in values:
            key = override.key_or_group
            parent, _, last = key.rpartition(".")
            node = OmegaConf.select(before, parent, throw_on_resolution_failure=False)
            if OmegaConf.is_dict(node) and last in node:
                default = OmegaConf.select(
                    before, key, throw_on_resolution_failure=False, throw_on_missing=False
                )
                if override.is_sweep_override():
                    found = [o.value() for o in self.parse(self.sweep_values(override))]
                else:
                    found = [override.value()]
                for value in found:
                    targets.check_value(key, value, _plain(default))
            if override.is_add() or override.is_force_add():
                self._check_added(cfg, before, key)

    def _check_added(self, cfg: DictConfig, before: DictConfig, key: str) -> None:
        """Refuse an added key unless the nearest target above it, or the Trainer, takes it."""
        config = strip(self.plain(cfg))
        known = strip(self.plain(before))
        if "." not in key and key not in known:
            raise InputError(self._no_key(key, []))
        node: Any = config
        place, nearest = "", ""
        for part in key.split("."):
            place = f"{place}.{part}" if place else part
            node = node.get(part) if isinstance(node, Mapping) else None
            if isinstance(node, Mapping) and (targets.TARGET in node or place == "trainer"):
                nearest = place
        if nearest:
            check_node(config, nearest)
        else:
            check_plain(config, known, key.partition(".")[0])

    def keys(self, overrides: Sequence[str], like: str = "") -> list[str]:
        """Every key that can be overridden, groups included; Hydra's if `like` is one."""
        from omegaconf import OmegaConf

        try:
            cfg = self.compose(self.choices(overrides))
        except Exception:  # whatever is wrong with the choices: keys of the defaults
            cfg = self.compose([])
        found = [*self.groups(), *_dotted(strip(self.plain(cfg)))]
        if like.startswith("hydra"):
            found += _dotted({"hydra": OmegaConf.to_container(cfg.hydra, resolve=False)})
        return list(dict.fromkeys(found))

    def explain(self, error: BaseException, overrides: Sequence[str]) -> str:
        """One line for what Hydra, OmegaConf or YAML raised."""
        from hydra.errors import MissingConfigException, OverrideParseException
        from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
        from yaml import MarkedYAMLError

        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MarkedYAMLError):
                mark = cause.problem_mark
                where = f"{mark.name}:{mark.line + 1}: " if mark else ""
                return f"{where}{cause.problem or cause}"
            cause = cause.__cause__ or cause.__context__
        text = str(error)
        if isinstance(error, OverrideParseException):
            return self._unreadable(error.override, text)
        if isinstance(error, MissingConfigException) and error.missing_cfg_file:
            return self._no_choice(error.missing_cfg_file, text)
        if match := re.match(r"(?:In '.*?': )?Could not override '([^']+)'", text):
            key = match[1]
            full = getattr(error.__cause__, "full_key", None)
            if isinstance(full, str) and full.startswith(f"{key}."):
                key = full
            return self._no_key(key, overrides)
        if match := re.match(r"Could not delete from config. '([^']+)' does not exist", text):
            near = targets.closest(match[1], self.keys(overrides, match[1]))
            return f"no key '{match[1]}' to delete{targets.did_you_mean(near)}"
        if match := re.match(r"Could not append to config. An item is already at '(.+?)'", text):
            return f"+{match[1]}: {match[1]} is there already, write {match[1]}=... without +"
        if isinstance(error, MissingMandatoryValue):
            return self._missing(str(error.full_key), overrides)
        if match := re.search(r"Missing mandatory value: ([\w.]+)", text):  # interpolated
            return self._missing(match[1], overrides)
        cause = error.__cause__ or error.__context__
        if isinstance(error, OmegaConfBaseException):
            return f"{self._wrong_value(error)}{self._foreign(text, overrides)}"
        if isinstance(cause, OmegaConfBaseException):
            first = _first_line(text)
            return f"{first}: {self._wrong_value(cause)}" if first else self._wrong_value(cause)
        return _first_line(text) or type(error).__name__

    def _foreign(self, text: str, overrides: Sequence[str]) -> str:
        """A remedy, where a model goes by a key that these data have not."""
        if not re.search(r"Interpolation key 'data\.", text):
            return ""
        choices = self.compose(self.choices(overrides)).hydra.runtime.choices
        return (
            f": model={choices['model']} is not for data={choices['data']}, choose another model="
        )

    def _no_key(self, key: str, overrides: Sequence[str]) -> str:
        if key == TABLE:
            return "a table is no part of one run: fitexp reproduce TABLE"
        near = targets.closest(key, self.keys(overrides, key))
        return f"no key '{key}'{targets.did_you_mean(near) or '; all keys: --cfg job'}"

    def _unreadable(self, override: str, text: str) -> str:
        lines = [line for line in text.splitlines() if line.strip() and "hydra.cc" not in line]
        if "=" not in override.lstrip("=") and not override.startswith("~"):
            known = [f"{key}=..." for key in self.keys([])]
            for group in self.groups():
                options = self.hydra.config_loader.get_group_options(group)
                known += [f"{group}={choice}" for choice in options]
            words = {text.partition("=")[2]: text for text in known}
            words |= {text.partition("=")[0]: text for text in known}
            near = targets.closest(override, words)
            hint = targets.did_you_mean(near and words[near])
            return f"cannot read '{override}': an override is KEY=VALUE{hint}"
        reason = next((x for x in lines if not x.startswith("Error parsing")), "")
        return f"cannot read the override '{override}': {reason.strip() or 'not KEY=VALUE'}"

    def _no_choice(self, file: str, text: str) -> str:
        group, _, choice = file.rpartition("/")
        if not group:
            return f"no config '{file}' (--config-name): {CONFIG_NAME} is the one of fitexp"
        options = self.hydra.config_loader.get_group_options(group)
        options = [name for name in options if not name.startswith("_")]
        if not options:
            return f"no choice '{choice}' of {group}: it has none"
        near = targets.closest(choice, options)
        listed = f" (choices: {', '.join(options)})"
        if (group, choice) in EXTRAS:
            return f"{group}={choice} is not installed: pip install '{EXTRAS[group, choice]}'"
        return f"no choice '{choice}' of {group}{targets.did_you_mean(near)}{listed}"

    def _missing(self, key: str, overrides: Sequence[str]) -> str:
        group, _, last = key.partition(".")
        choice = None
        with suppress(Exception):
            choice = self.compose(self.choices(overrides)).hydra.runtime.choices.get(group)
        value = "PATH" if last == "path" else "VALUE"
        because = f"{group}={choice} needs" if choice else "write"
        return f"{key} is missing: {because} {key}={value}"

    def _wrong_value(self, error: Any) -> str:
        """An interpolation or a typed value that cannot be; helper keys are said in words."""
        key = str(error.full_key or "")
        message = _first_line(str(error.msg or error))
        helper = re.search(rf"\b({'|'.join(HELPERS)})\.([^.']+)", message)
        if helper:
            node, source = getattr(error, "parent_node", None), f"data.{HELPERS[helper[1]]}"
            if node is not None and helper[1] not in node:  # the model's, at the top
                node = node._get_root()
            options = [str(k) for k in node[helper[1]]] if node is not None else []
            near = targets.closest(helper[2], options)
            listed = f" (choices: {', '.join(options)})" if options else ""
            return f"no choice '{helper[2]}' of {source}{targets.did_you_mean(near)}{listed}"
        return f"{key}: {message}" if key and key not in message else message


def resolved(cfg: DictConfig, key: str | None = None) -> dict[str, Any]:
    """A composed config as plain values: interpolations resolved, helper and Hydra's keys gone.

    key: only this one is resolved and returned, in a dict; None: all. Raises OmegaConf's errors
    for values that are missing or cannot be resolved.
    """
    from omegaconf import OmegaConf

    node = cfg if key is None else cfg[key]
    values: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    values = values if key is None else {key: values}
    values.pop("hydra", None)
    data = values.get("data")
    if isinstance(data, dict) and data.get("path") is not None:
        data["path"] = os.path.abspath(os.path.expanduser(str(data["path"])))
    return {str(key): value for key, value in strip(values).items()}


def strip(config: Any) -> Any:
    """The config without HELPERS, at every depth."""
    if isinstance(config, Mapping):
        return {key: strip(value) for key, value in config.items() if key not in HELPERS}
    if isinstance(config, list):
        return [strip(value) for value in config]
    return config


def check(config: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse a resolved config with keys that nothing takes or without keys that are needed.

    known: the primary config. Imports what the config names: torch and all. Raises InputError.
    """
    for key in config:
        if key not in known and key not in OPTIONAL:
            raise InputError(f"no key '{key}'{targets.did_you_mean(targets.closest(key, known))}")
    for key in known:
        if key not in config:
            raise InputError(f"{key} is missing: fitexp train --cfg job shows what is composed")
        if isinstance(known[key], Mapping) and not isinstance(config[key], Mapping):
            first = targets.some_key(known[key])
            raise InputError(f"{key}={_shown(config[key])}: it takes keys, as {key}.{first}=...")
    for key, least in (("seed", 0), ("num_threads", 1)):
        value = config[key]
        most = 2**32 - 1 if key == "seed" else 4096
        if not isinstance(value, int) or not least <= value <= most:
            raise InputError(f"{key}={_shown(value)}: it takes a whole number, {least} to {most}")
    for key in ("data", "data.source", "loss", "optimizer", "model", "task", "trainer"):
        check_node(config, key)
    for key in OPTIONAL:
        if key in config:
            check_node(config, key)
    for name in config["data"].get("baselines", ()):
        check_node(config, f"{BASELINES}.{name}")
    for key in set(known) - {*INJECTED, "trainer"}:
        check_plain(config, known, key)


def check_pair(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Refuse a model of another kind of data, before the data are read. Raises InputError."""

    def kind_of(node: Mapping[str, Any]) -> str | None:
        return getattr(targets.locate(node[targets.TARGET], targets.ANYTHING), "kind", None)

    model, data = kind_of(config["model"]), kind_of(config["data"])
    if None in (model, data) or model == data:
        return
    able = [name for name, node in _models() if kind_of(node) == data]
    name = choices.get("model", str(config["model"][targets.TARGET]))
    near = targets.closest(name, able)
    hint = targets.did_you_mean(near and f"model={near}") or f": choose of {', '.join(able)}"
    raise InputError(
        f"model={name} takes data of kind {model}, but data={choices.get('data', '')} is of kind "
        f"{data}{hint}"
    )


def _models() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Choices of `model` that come with fitexp and name their target, sorted."""
    import yaml

    files = (resources.files("fitexp.conf") / "model").iterdir()
    for file in sorted(files, key=lambda one: one.name):
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        node = values.get("model", values)
        if targets.TARGET in node:
            yield file.name.removesuffix(".yaml"), node


def check_node(config: Mapping[str, Any], place: str) -> None:
    """Check the node at `place` against its target's signature; `trainer` against Lightning's."""
    node: Any = config
    for part in place.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    if node is None and "." in place:
        return
    if not isinstance(node, Mapping):
        raise InputError(f"{place}: a mapping with {targets.TARGET} is expected, not {node!r}")
    injected = injected_at(place)
    if place == "trainer":
        from fitexp.trainer import OURS

        node, injected = {targets.TARGET: TRAINER, **node}, tuple(OURS)
    targets.check_keys(node, injected, allow=targets.ANYTHING, where=place)


def injected_at(place: str) -> tuple[str, ...]:
    """Arguments that fitexp gives to the target at a place of the config."""
    return INJECTED.get("model" if place.startswith(f"{BASELINES}.") else place, ())


def check_plain(config: Mapping[str, Any], known: Mapping[str, Any], key: str) -> None:
    """Check a node without a target: only the primary config's keys are read."""
    node, ours = config.get(key), known.get(key)
    if not isinstance(node, Mapping) or not isinstance(ours, Mapping):
        return
    for name in node:
        if name not in ours:
            near = targets.closest(str(name), map(str, ours))
            hint = targets.did_you_mean(near and f"{key}.{near}")
            listed = f" (there are {', '.join(map(str, ours))})"
            raise InputError(f"no key '{key}.{name}'{hint or listed}")


def _shown(value: Any) -> str:
    """A value as it is written on the command line."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _plain(value: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value, resolve=False) if OmegaConf.is_config(value) else value


def _dotted(node: Any, prefix: str = "") -> list[str]:
    """Dotted keys of a nested mapping, inner nodes included."""
    if not isinstance(node, Mapping):
        return []
    found = []
    for key, value in node.items():
        if key != targets.TARGET:
            found += [f"{prefix}{key}", *_dotted(value, f"{prefix}{key}.")]
    return found


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
