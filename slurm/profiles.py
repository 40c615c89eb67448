"""Profile: what a stage asks of the cluster, read from TOML, and where in the file that stands.

A file has [default] and, each over it, [work.CLASS] for a class of work (`harness.planning.kinds.WORK`) and
[kind.KIND] for one kind of stage, [kind."OWNER:NAME"] for a method's own. A key counts from the most specific table
that gives it: kind, then work, then default. A flag of `extra` counts by itself, and of the three keys of memory only
the most specific. "" takes a text of a wider table away, false a flag of `extra`.

Submits nothing and imports nothing of submitit: plans, dry runs and reports of failure read profiles.
"""

from __future__ import annotations

import datetime
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import Problem, Problems, UsageError, unknown
from harness.planning.kinds import KINDS, TRAINS, WORK, StageKind
from harness.planning.method_registry import is_owner
from harness.wording import shown

OPTION = "profile"  # the option of the command line that names the file
DEFAULT = "default"
SIGNAL_MINUTES = 5  # a checkpoint of a large model takes minutes on a busy file system
LEAST_MINUTES_BEFORE_SIGNAL = 2  # SLURM may send the signal a minute early, and a worker takes a while to start
MOST_SIGNAL_MINUTES = 1092  # SLURM holds seconds in 16 bits
MOST_MINUTES = 10 * 366 * 24 * 60
MOST_COUNT = 1_000_000
MEMORY_KEYS = ("memory", "memory_per_cpu", "memory_per_gpu")
_MEMORY = re.compile(r"0|[1-9][0-9]{0,11}[KMGTkmgt]")
_TIME = re.compile(r"(?:(?P<days>\d{1,6})-)?(?P<fields>\d{1,8}(?::\d{1,8}){0,2})", re.ASCII)
_GPUS = re.compile(r"(?P<type>[A-Za-z][\w.-]*):(?P<count>[1-9][0-9]{0,3})", re.ASCII)
_FLAG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TABLE = re.compile(r"[A-Za-z0-9_-]+")  # a key that TOML takes without quotes

# Flags of sbatch that `extra` may not give: the key that does, or why nothing may.
_BY_KEY = {
    "partition": "partition",
    "account": "account",
    "qos": "qos",
    "time": "time",
    "nodes": "nodes",
    "gpus": "gpus",
    "gpus-per-node": "gpus",
    "gpus-per-task": "gpus",
    "cpus-per-task": "cpus",
    "mem": "memory",
    "mem-per-cpu": "memory_per_cpu",
    "mem-per-gpu": "memory_per_gpu",
    "constraint": "constraint",
    "exclude": "exclude",
    "nodelist": "nodelist",
    "exclusive": "exclusive",
    "wckey": "wckey",
    "comment": "comment",
    "signal": "signal_minutes",
}
_BY_HARNESS = (
    *("array", "chdir", "clusters", "dependency", "error", "help", "job-name", "kill-on-invalid-dep", "no-requeue"),
    *("ntasks", "ntasks-per-node", "open-mode", "output", "parsable", "quiet", "requeue", "test-only", "usage"),
    *("verbose", "version", "wait", "wrap"),
)


class _RefusedError(ValueError):
    """A value that a key does not take. next_move: a sentence beyond what is expected."""

    def __init__(self, expected: str, next_move: str | None = None) -> None:
        super().__init__(expected)
        self.expected, self.next_move = expected, next_move


def _plain(value: Any, expected: str) -> str:
    """A text without control characters: none of them can stand in a batch file's flag."""
    if not isinstance(value, str):
        raise _RefusedError(expected)
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise _RefusedError(f"{expected}, without a line break or other control character")
    return value


def _text(value: Any) -> str | None:
    return _plain(value, "a text") or None


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _RefusedError("true or false")
    return value


def _whole(least: int, most: int = MOST_COUNT) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise _RefusedError(f"a whole number, {least} to {most}" if most < MOST_COUNT else f"{least} or more")
        return value

    return read


def _time(value: Any) -> int:
    """Minutes, a part of one counted whole as SLURM does."""
    expected = 'minutes, or "hours:minutes:seconds", "days-hours" or another form of SLURM, up to ten years'
    if isinstance(value, str) and value.strip().lower() in ("unlimited", "infinite", "-1", "0"):
        raise _RefusedError(expected, "A job without a limit is never told to save before it ends.")
    if isinstance(value, datetime.time):  # what TOML makes of 04:00:00 without quotes
        value = value.isoformat()
    if type(value) is int and 0 < value <= MOST_MINUTES:
        value = str(value)
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise _RefusedError(expected)
    parts = [int(part) for part in found["fields"].split(":")]
    if found["days"] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    else:
        hours, minutes, seconds = {1: (0, *parts, 0), 2: (0, *parts), 3: tuple(parts)}[len(parts)]
    whole = (int(found["days"] or 0) * 24 + hours) * 60 + minutes + -(-seconds // 60)
    if not 0 < whole <= MOST_MINUTES:
        raise _RefusedError(expected)
    return whole


def _gpus(value: Any) -> str | int:
    expected = 'a number of GPUs, or "TYPE:NUMBER" as "a100:2"'
    if isinstance(value, str):
        if not _GPUS.fullmatch(value):
            raise _RefusedError(expected)
        return value
    if type(value) is not int or not 0 <= value < 10_000:
        raise _RefusedError(expected)
    return value


def _memory(value: Any) -> str:
    if not isinstance(value, str) or not _MEMORY.fullmatch(value):
        raise _RefusedError('a whole number and its unit, K, M, G or T, as "32G"; "0" is all that a node has')
    return value.upper()


def _words(expected: str) -> Callable[[Any], tuple[str, ...]]:
    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise _RefusedError(expected)
        return tuple(_plain(word, expected) for word in value)

    return read


def _container(value: Any) -> tuple[str, ...]:
    words = _words('a list of words, as ["apptainer", "exec", "image.sif"]')(value)
    if words and (not words[0] or words[0].startswith("-")):
        raise _RefusedError("a program as the first word")
    return words


def _python(value: Any) -> str | None:
    expected = "a full path, or a name that PATH finds"
    path = _plain(value, expected)
    if path.startswith(("-", "~")) or ("/" in path and not path.startswith("/")):
        raise _RefusedError(expected, "No shell reads it: ~ and $HOME stay as they are.")
    return path or None


def _extra(value: Any) -> tuple[tuple[str, str | int | float | bool], ...]:
    if not isinstance(value, dict):
        raise _RefusedError('a table of flags of sbatch, as { reservation = "name", nice = 10 }')
    for name, given in value.items():
        if not _FLAG.fullmatch(name):
            raise _RefusedError("the long names of sbatch's flags, as in its manual, without --", f"{name!r} is none.")
        if name in _BY_KEY:
            raise _RefusedError(f"no {name}", f"Write it as the key {_BY_KEY[name]}.")
        if name in _BY_HARNESS:
            raise _RefusedError(f"no {name}", "The harness decides it.")
        if short := [flag for flag in (*_BY_KEY, *_BY_HARNESS) if flag.startswith(name)]:
            raise _RefusedError(f"no {name}", f"sbatch may read it as {short[0]}.")
        if not isinstance(given, str | int | float) or (isinstance(given, int) and abs(given) >= 2**63):
            raise _RefusedError(f"a text, a number or true for {name}")
        if isinstance(given, str):
            _plain(given, f"a text for {name}")
    return tuple(sorted(value.items()))


# Key of a file -> what reads its value. Each is a field of `Profile`, time as time_minutes.
KEYS: Mapping[str, Callable[[Any], Any]] = {
    "partition": _text,
    "account": _text,
    "qos": _text,
    "time": _time,
    "signal_minutes": _whole(1, MOST_SIGNAL_MINUTES),
    "nodes": _whole(1),
    "tasks": _whole(1),
    "exclusive": _flag,
    "gpus": _gpus,
    "cpus": _whole(1),
    "memory": _memory,
    "memory_per_cpu": _memory,
    "memory_per_gpu": _memory,
    "constraint": _text,
    "exclude": _text,
    "nodelist": _text,
    "setup": _words("a list of lines for the shell, each a text of its own"),
    "container": _container,
    "python": _python,
    "stages_at_once": _whole(1),
    "bundles_per_task": _whole(1),
    "array_parallelism": _whole(1),
    "wckey": _text,
    "comment": _text,
    "extra": _extra,
}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What one stage asks of the cluster, every table of the file applied.

    name: the table that is most specific to it, as TOML writes it: "kind.transfer", "work.training" or "default".
    file: where it was read, for people.
    time_minutes: limit of one task; signal_minutes: how long before it the task is told to save.
    nodes, tasks: a training stage's ranks: tasks on each of so many nodes. 1 and 1: a process alone.
    gpus: a number, or "TYPE:NUMBER", on each node. cpus: of a rank; of a process alone the whole task's, however many
    stages run side by side.
    setup: lines that the batch shell runs as they are, before the task.
    container: words before python. python: the path there; that of the submitting process where the file gives none.
    stages_at_once: None: as many as there are GPUs, see `num_at_once`.
    bundles_per_task: so many bundles of an array share a task. array_parallelism: None: all tasks of an array at once.
    extra: further flags of sbatch by name; true: a flag without a value.
    """

    name: str
    file: str
    time_minutes: int
    signal_minutes: int = SIGNAL_MINUTES
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    nodes: int = 1
    tasks: int = 1
    exclusive: bool = False
    gpus: str | int = 0
    cpus: int = 1
    memory: str | None = None
    memory_per_cpu: str | None = None
    memory_per_gpu: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    nodelist: str | None = None
    setup: tuple[str, ...] = ()
    container: tuple[str, ...] = ()
    python: str = sys.executable
    stages_at_once: int | None = None
    bundles_per_task: int = 1
    array_parallelism: int | None = None
    wckey: str | None = None
    comment: str | None = None
    extra: tuple[tuple[str, str | int | float | bool], ...] = ()

    @property
    def place(self) -> str:
        """Where a key for these stages is written, for a sentence: "[kind.transfer] of FILE"."""
        return f"[{self.name}] of {self.file}"

    @property
    def ranks(self) -> int:
        """The processes that train a stage together."""
        return self.nodes * self.tasks

    @property
    def num_gpus(self) -> int:
        return int(str(self.gpus).rpartition(":")[2])

    @property
    def asks_for_gpus(self) -> bool:
        """By the key, or by a flag of sbatch as `extra = { gres = "gpu:1" }`: not every SLURM knows the key's."""
        return self.num_gpus > 0 or any("gpu" in f"{name}={value}" for name, value in self.extra)

    def num_at_once(self, threads: int | None = None) -> int:
        """How many stages run side by side in one task. threads: of one stage, as its recipe says; None: unknown."""
        if self.stages_at_once is not None:
            return self.stages_at_once
        if self.ranks > 1:
            return 1
        return self.num_gpus or (max(1, self.cpus // threads) if threads else 1)

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The words that run this profile's Python with these arguments."""
        return (*self.container, self.python, *arguments)

    def as_json(self) -> dict[str, Any]:
        """What a ledger keeps; `from_json` reads it."""
        return {**asdict(self), "setup": list(self.setup), "container": list(self.container), "extra": dict(self.extra)}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Profile:
        """The profile of a ledger, with what it does not hold as by default. Raises ValueError where it is none."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in tree.items() if name in known}
        try:
            given.update({name: tuple(given[name]) for name in ("setup", "container") if name in given})
            if "extra" in given:
                given["extra"] = tuple(sorted(given["extra"].items()))
            return cls(**given)
        except (AttributeError, TypeError) as error:
            raise ValueError(f"no profile: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """The profiles of a file. work: by class of work; kind: by kind of stage, its class of work already applied."""

    file: str
    default: Profile
    work: Mapping[str, Profile]
    kind: Mapping[str, Profile]

    def for_stage(self, kind: str, work: str | None) -> Profile:
        """The profile of a stage. work: the class of its kind."""
        if kind in self.kind:
            return self.kind[kind]
        return self.work.get(work, self.default) if work else self.default


def example_names() -> list[str]:
    """Profiles shipped with the package."""
    folder = resources.files("slurm").joinpath("examples")
    return sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".toml"))


def example_text(name: str) -> str:
    """The file of a shipped profile. Raises UsageError for an unknown name, with the nearest."""
    if name not in example_names():
        problem = unknown("profile", name, example_names())
        next_move = f"{problem.next_move} A file of your own is named FILE.toml."
        raise UsageError(replace(problem, next_move=next_move, option=OPTION))
    return resources.files("slurm").joinpath("examples", f"{name}.toml").read_text(encoding="utf-8")


def load_profiles(word: str, kinds: Mapping[str, StageKind] = KINDS) -> Profiles:
    """Read and check profiles: the name of a shipped file, or the path of one.

    word: a path where it ends in .toml or has a path separator. kinds: those that [kind.KIND] may name, the built-in
    ones and those of a grid's methods. Raises UsageError with every problem.
    """
    if _is_file(word):
        return parse_profiles(os.path.abspath(word), _text_of_file(word), kinds)
    return parse_profiles(f"the shipped profile {word}", example_text(word), kinds)


def profile_text(word: str) -> str:
    """The file of profiles that `load_profiles` takes. Raises UsageError with every problem."""
    load_profiles(word)
    return _text_of_file(word) if _is_file(word) else example_text(word)


def _is_file(word: str) -> bool:
    return word.endswith(".toml") or any(separator in word for separator in (os.sep, os.altsep) if separator)


def _text_of_file(word: str) -> str:
    try:
        return Path(word).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        move = f"Correct the path, or name a shipped one: {', '.join(example_names())}."
        raise UsageError(Problem(f"profile {word} does not exist", OPTION, None, move)) from None
    except UnicodeDecodeError as error:
        raise UsageError(Problem(f"profile {word} is not UTF-8 text (byte {error.start}).", OPTION)) from None
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(Problem(f"profile {shown(word)} cannot be read: {what}.", OPTION)) from None


def parse_profiles(file: str, text: str, kinds: Mapping[str, StageKind] = KINDS) -> Profiles:
    """Profiles from TOML text. file: how sentences name it. Raises UsageError with every problem."""
    try:
        tree = tomllib.loads(text)
    except ValueError as error:
        raise UsageError(Problem(f"{file} is not TOML: {error}.", OPTION)) from None
    except RecursionError:
        raise UsageError(Problem(f"{file} is not TOML: its values are nested too deeply.", OPTION)) from None
    reader = _Reader(file, Problems())
    profiles = reader.profiles(tree, kinds)
    reader.problems.check()
    return profiles


@dataclass(frozen=True)
class _Given:
    """A key's value and the table that gives it."""

    value: Any
    table: str


_Layer = Mapping[str, _Given]


@dataclass(frozen=True)
class _Reader:
    """Reads the tables of one file, and notes all that is wrong."""

    file: str
    problems: Problems

    def note(self, found: str, expected: str | None = None, next_move: str | None = None) -> None:
        self.problems.add(Problem(f"{self.file}: {found}", OPTION, expected, next_move))

    def profiles(self, tree: Mapping[str, Any], kinds: Mapping[str, StageKind]) -> Profiles:
        for name, value in tree.items():
            if name in KEYS:
                self.note(f"{name} stands in no table", f"it under [{DEFAULT}], [work.CLASS] or [kind.KIND]")
            elif name not in (DEFAULT, "work", "kind"):
                what = "table" if isinstance(value, dict) else "key"
                self.problems.add(unknown(what, name, (DEFAULT, "work", "kind"), where=f"{self.file}: "), OPTION)
        given = tree.get(DEFAULT, {})
        default = self.table(DEFAULT, given)
        if isinstance(given, dict) and "time" not in given:
            move = 'Write time = "04:00:00", or what the partition allows.'
            self.note(f"[{DEFAULT}] gives no time", next_move=move)
        work = {name: self.table(f"work.{name}", given) for name, given in self.tables("work", tree)}
        kind = {name: self.table(f"kind.{_quoted(name)}", given) for name, given in self.tables("kind", tree)}
        for name in work:
            if name not in WORK:
                self.problems.add(unknown("work class", name, WORK, where=f"{self.file}: [work.{name}]: "), OPTION)
        for name in kind:
            if name not in kinds and not _is_of_another_grid(name, kinds):
                where = f"{self.file}: [kind.{_quoted(name)}]: "
                self.problems.add(unknown("stage kind", name, kinds, where=where), OPTION)
        self.check_ranks(DEFAULT, default, None)
        for name, layer in work.items():
            self.check_ranks(f"work.{name}", layer, name)
        for name, layer in kind.items():
            if name in kinds:
                self.check_ranks(f"kind.{_quoted(name)}", layer, kinds[name].work)
        nothing: _Layer = {}
        of_kind = {name: work.get(kinds[name].work, nothing) if name in kinds else nothing for name in kind}
        return Profiles(
            file=self.file,
            default=self.profile(DEFAULT, default),
            work={name: self.profile(f"work.{name}", default, layer) for name, layer in work.items()},
            kind={
                name: self.profile(f"kind.{_quoted(name)}", default, of_kind[name], layer)
                for name, layer in kind.items()
            },
        )

    def tables(self, group: str, tree: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
        """The tables [GROUP.NAME]."""
        given = tree.get(group, {})
        if not isinstance(given, dict):
            self.note(f"{group} = {shown(given)}", f"tables [{group}.NAME]")
            return ()
        return given.items()

    def table(self, name: str, given: Any) -> dict[str, _Given]:
        """The values of one table that can be read."""
        if not isinstance(given, dict):
            self.note(f"{name} = {shown(given)}", f"a table [{name}]")
            return {}
        layer: dict[str, _Given] = {}
        for key, value in given.items():
            if key not in KEYS:
                problem = unknown("key", key, KEYS, where=f"{self.file}: [{name}]: ")
                near = (problem.next_move or "").partition("Known: ")[0]
                self.problems.add(
                    replace(problem, next_move=f"{near.strip()} Known: {', '.join(sorted(KEYS))}.".lstrip()), OPTION
                )
                continue
            try:
                layer[key] = _Given(KEYS[key](value), name)
            except _RefusedError as error:
                self.note(f"[{name}] {key} = {shown(value)}", error.expected, error.next_move)
        memory = [key for key in MEMORY_KEYS if key in layer]
        if len(memory) > 1:
            self.note(f"[{name}] gives {' and '.join(memory)}", "at most one of them")
        return layer

    def profile(self, name: str, *layers: _Layer) -> Profile:
        """The profile of these tables, each over those before it; what contradicts itself is noted."""
        given: dict[str, _Given] = {}
        extra: dict[str, Any] = {}
        for layer in layers:
            if any(key in layer for key in MEMORY_KEYS):
                given = {key: value for key, value in given.items() if key not in MEMORY_KEYS}
            given.update(layer)
            extra.update(layer["extra"].value if "extra" in layer else ())
        values = {key: found.value for key, found in given.items() if found.value is not None}
        values["extra"] = tuple(sorted((flag, value) for flag, value in extra.items() if value is not False))
        profile = Profile(name=name, file=self.file, time_minutes=values.pop("time", MOST_MINUTES), **values)
        self.check(profile, given)
        return profile

    def check_ranks(self, table: str, layer: _Layer, work: str | None) -> None:
        """Note what asks for several ranks where nothing trains. work: the class that the table is for, or all."""
        for key in ("nodes", "tasks"):
            if key in layer and layer[key].value > 1 and work not in TRAINS:
                self.note(
                    f"[{table}] {key} = {layer[key].value}",
                    "1, since only training takes several ranks",
                    f"Write it under {' or '.join(f'[work.{name}]' for name in sorted(TRAINS))}. For a whole node with "
                    "a stage on every GPU write exclusive = true, with stages_at_once and bundles_per_task to fill it.",
                )

    def check(self, profile: Profile, given: _Layer) -> None:
        """Note what keys are not to each other. A problem of a wide table shows up in every profile: the same, once."""
        least = profile.signal_minutes + LEAST_MINUTES_BEFORE_SIGNAL
        if profile.time_minutes < least:
            signal = given["signal_minutes"].table if "signal_minutes" in given else None
            self.note(
                f"[{given['time'].table}] time = {profile.time_minutes} minutes",
                f"at least {least}: signal_minutes = {profile.signal_minutes}"
                f" ({f'[{signal}]' if signal else 'the default'}) and {LEAST_MINUTES_BEFORE_SIGNAL} more",
                "A task that is told to save too late loses its work. Raise time, or lower signal_minutes.",
            )
        if profile.exclusive and "cpus" not in given:
            self.note(
                f"[{given['exclusive'].table}] exclusive = true without cpus",
                "the cores of a whole node as cpus",
                "A task gets no more cores than it asks for, even where the node is its own.",
            )
        if profile.ranks > 1 and (profile.stages_at_once or 1) > 1:
            self.note(
                f"[{profile.name}] stages_at_once = {profile.stages_at_once} with {profile.ranks} ranks",
                "1: a stage takes them all",
            )
        if profile.memory_per_gpu and not profile.num_gpus:
            self.note(f"[{given['memory_per_gpu'].table}] memory_per_gpu without gpus", "gpus = 1 or more beside it")
        if profile.container and not given.get("python", _Given(None, "")).value:
            self.note(
                f"[{given['container'].table}] container without python", "the path of python inside the container"
            )


def _quoted(name: str) -> str:
    """A table's name as TOML writes it."""
    return name if _TABLE.fullmatch(name) else f'"{name}"'


def _is_of_another_grid(kind: str, kinds: Mapping[str, StageKind]) -> bool:
    """Whether a kind may belong to an installed method that this grid does not name: a site's file serves many."""
    owner, colon, _ = kind.partition(":")
    return bool(colon) and owner not in {known.owner for known in kinds.values()} and is_owner(owner)
