"""Environment: the facts about a machine that `harness doctor` judges. Gathered here, judged in `checks`.

Nothing heavy is imported, and a fact that cannot be found is None, so that a broken installation is still described.
The only thing written is a temporary folder with three small files beside the store.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any

import harness
from harness.execution.hardware import this_machine
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import hub_sets
from harness.inputs.hub import HubSource, cached_files
from harness.inputs.models import MODELS, PackageSource, find_models
from harness.store.processes import is_gone
from harness.store.store import Store
from harness.tasks import TASKS
from harness.worker.provenance import provenance

DISTRIBUTION = "encoder-compression-harness"
SLURM_COMMANDS = ("sbatch", "squeue", "scontrol", "scancel")
ANSWER_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Packages:
    """requirements: as in our metadata, extras with their marker. installed: name -> version of those present.

    tested: name -> version of a checkout's constraints.txt. torch_cuda: whether the build of torch can use a GPU.
    """

    python: str
    python_range: str
    requirements: tuple[str, ...]
    installed: Mapping[str, str]
    tested: Mapping[str, str] = field(default_factory=dict)
    torch_cuda: bool = False


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """devices: all NVIDIA devices; gpus: those a stage may use. cores: those this process may use.

    cpu_limit: cores' worth of time that a control group allows. memory_limit: bytes that it allows.
    """

    devices: tuple[str, ...]
    gpus: tuple[str, ...]
    driver: str | None
    visible_devices: str | None
    cores: int
    host_cores: int
    cpu_limit: float | None
    omp_threads: str | None
    memory_bytes: int | None
    available_bytes: int | None
    memory_limit: int | None


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The result of the operations tried in the store's folder, or in its nearest parent that exists (`tried_in`).

    problems: operation -> error, of "write", "exclusive create", "hard link", "fsync". clock_skew: seconds by which the
    file system's clock is ahead of this machine's. stale: leased stages whose process is gone; live: the others.
    """

    store: Path
    tried_in: Path
    problems: Mapping[str, str]
    free_bytes: int
    file_system: str | None
    clock_skew: float | None
    stale: tuple[str, ...] = ()
    live: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Hub:
    """cache None: huggingface_hub is not installed. reachable: None where it was not tried, "" yes, else why not.

    models, data_sets: name in our catalogue -> whether it is on this machine.
    """

    cache: Path | None
    free_bytes: int | None
    offline: bool
    endpoint: str
    reachable: str | None
    models: Mapping[str, bool]
    data_sets: Mapping[str, bool]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """slurm: command on this machine -> output of `sbatch --version` (others: ""). commit None: no checkout."""

    packages: Packages
    hardware: Hardware
    disk: Disk
    hub: Hub
    slurm: Mapping[str, str]
    commit: str | None
    uncommitted: bool
    now: float


def read_environment(store: Path, *, online: bool) -> Environment:
    """The facts about this machine and this store. online: whether to send the hub a request."""
    source = provenance()
    return Environment(
        packages=_packages(Path(harness.__file__).parents[1]),
        hardware=_hardware(Path("/"), os.environ),
        disk=read_disk(store),
        hub=_hub(online),
        slurm=_slurm(),
        commit=source["commit"],
        uncommitted=bool(source.get("uncommitted")),
        now=time.time(),
    )


def _packages(root: Path) -> Packages:
    requirements, python_range = _declared(root)
    names = {named(text) for text in requirements}
    installed = {name: version for name in sorted({*names, "seaborn", "matplotlib"}) if (version := _version(name))}
    return Packages(
        python=".".join(map(str, sys.version_info[:3])),
        python_range=python_range,
        requirements=requirements,
        installed=installed,
        tested=_tested(root / "constraints.txt"),
        torch_cuda="torch" in installed and _is_cuda_build(installed["torch"]),
    )


def named(requirement: str) -> str:
    """The package of a requirement: torch of "torch>=2.13,<3"."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


def _declared(root: Path) -> tuple[tuple[str, ...], str]:
    """Our requirements and range of Python: of the checkout this runs from, else of the installed distribution.

    A checkout comes first: the metadata of an editable installation are as old as the installation.
    """
    file = root / "pyproject.toml"
    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}) if file.is_file() else {}
    if project.get("name") == DISTRIBUTION:
        extras = [
            f'{text}; extra == "{extra}"'
            for extra, requirements in project["optional-dependencies"].items()
            for text in requirements
        ]
        return (*project["dependencies"], *extras), project["requires-python"]
    try:
        found = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return (), ""
    return tuple(found.get_all("Requires-Dist") or ()), (found.get_all("Requires-Python") or [""])[0]


def _tested(constraints: Path) -> dict[str, str]:
    lines = constraints.read_text(encoding="utf-8").splitlines() if constraints.is_file() else []
    pinned = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.strip(): version.strip() for name, _, version in pinned}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_cuda_build(version: str) -> bool:
    """From the name of the build, or without one from the packages it requires; torch is not imported."""
    if "+" in version:
        return "+cu" in version
    return any(text.lower().startswith(("nvidia-", "cuda-")) for text in metadata.requires("torch") or ())


def _hardware(root: Path, variables: Mapping[str, str]) -> Hardware:
    machine = this_machine()
    memory = _memory(_text(root / "proc/meminfo"))
    driver = re.search(r"Module\s+(\d[\d.]*)", _text(root / "proc/driver/nvidia/version"))
    numbered = [path.name.removeprefix("nvidia") for path in (root / "dev").glob("nvidia*")]
    groups = control_groups(_text(root / "proc/self/cgroup"))
    return Hardware(
        devices=tuple(sorted(name for name in numbered if name.isdigit())),
        gpus=machine.gpus,
        driver=driver[1] if driver else None,
        visible_devices=variables.get("CUDA_VISIBLE_DEVICES"),
        cores=machine.cores,
        host_cores=os.cpu_count() or machine.cores,
        cpu_limit=cpu_limit(root / "sys/fs/cgroup", groups),
        omp_threads=variables.get("OMP_NUM_THREADS"),
        memory_bytes=memory.get("MemTotal"),
        available_bytes=memory.get("MemAvailable"),
        memory_limit=memory_limit(root / "sys/fs/cgroup", groups, memory.get("MemTotal")),
    )


def _memory(meminfo: str) -> dict[str, int]:
    """Bytes by name, from /proc/meminfo (which counts in KiB)."""
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", meminfo, re.MULTILINE)}


def control_groups(text: str) -> dict[str, str]:
    """Path of this process's group by controller, from /proc/self/cgroup; "" is the unified one of version 2."""
    lines = (line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2)
    return {controller: path for _, controllers, path in lines for controller in controllers.split(",")}


def cpu_limit(mount: Path, groups: Mapping[str, str]) -> float | None:
    """Cores' worth of time that the tightest group above this process allows; None: no limit is set.

    Version 2 writes "QUOTA PERIOD" or "max PERIOD" to cpu.max, version 1 a quota of -1 or in microseconds.
    """
    limits = []
    for folder in _up(mount, groups.get("")):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        limits += [int(quota) / int(period)] if quota.isdigit() and period.strip().isdigit() else []
    for folder in _up(mount / "cpu", groups.get("cpu")):
        quota, period = (_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
        limits += [int(quota) / int(period)] if quota.isdigit() and period.isdigit() else []
    return min(limits, default=None)


def memory_limit(mount: Path, groups: Mapping[str, str], total: int | None) -> int | None:
    """Bytes that the tightest group allows; None: no limit, or (as version 1 writes "none") one beyond the memory."""
    files = [folder / "memory.max" for folder in _up(mount, groups.get(""))]
    files += [folder / "memory.limit_in_bytes" for folder in _up(mount / "memory", groups.get("memory"))]
    limits = [int(text) for file in files if (text := _text(file).strip()).isdigit()]
    return min((limit for limit in limits if total is None or limit < total), default=None)


def _up(mount: Path, path: str | None) -> list[Path]:
    """The folders of a group and of its parents. The mount itself is one: a container may hide the group's path."""
    if path is None:
        return []
    inner = Path(path.lstrip("/"))
    return [mount / inner, *(mount / parent for parent in inner.parents)]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def read_disk(root: Path) -> Disk:
    """Tries the operations that the store needs, in a temporary folder where the store is or would be."""
    store, place = Store(root), _nearest(root.absolute())
    problems, skew = try_disk(place)
    if (blocked := store.blocked_by()) is not None:
        problems, place = {"making a folder": f"{blocked} is a file"}, root.absolute()
    holders = {stage: store.stage(stage).holder() for stage in sorted(store.leased())}
    held = {stage: holder for stage, holder in holders.items() if holder and not holder.released}
    under_way = [stage for stage in held if not store.stage(stage).has_record()]
    stale = tuple(stage for stage in under_way if is_gone(held[stage]))
    return Disk(
        store=root,
        tried_in=place,
        problems=problems,
        free_bytes=shutil.disk_usage(_nearest(place)).free,
        file_system=file_system_of(place.resolve(), _text(Path("/proc/mounts"))),
        clock_skew=skew,
        stale=stale,
        live=tuple(stage for stage in under_way if stage not in stale),
    )


def try_disk(place: Path) -> tuple[dict[str, str], float | None]:
    """Failed operation -> its error, and by how many seconds the file system's clock is ahead of ours."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".harness-doctor-", dir=place))
    except OSError as error:
        return {"write": str(error)}, None
    problems: dict[str, str] = {}
    skew = None
    try:
        path = folder / "written"
        operations = {
            "write": lambda: path.write_text("tried by harness doctor"),
            "exclusive create": lambda: _exclusive(folder / "exclusive"),
            "hard link": lambda: _link(path, folder / "linked"),
            "fsync": lambda: _sync(path, folder),
        }
        before = time.time()
        for name, operation in operations.items():
            try:
                operation()
            except OSError as error:
                problems[name] = str(error)
            if name == "write" and path.exists():
                skew = path.stat().st_mtime - (before + time.time()) / 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return problems, skew


def _exclusive(path: Path) -> None:
    """Raises OSError unless the second creation of a file is refused."""
    path.open("x").close()
    try:
        path.open("x").close()
    except FileExistsError:
        return
    raise OSError("a file that was there was created a second time")


def _link(path: Path, name: Path) -> None:
    """Raises OSError unless a second name is made, and refused where a file has it."""
    os.link(path, name)
    try:
        os.link(path, name)
    except FileExistsError:
        return
    raise OSError("a link was made over a file that was there")


def _sync(path: Path, folder: Path) -> None:
    for each in (path, folder):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def file_system_of(path: Path, mounts: str) -> str | None:
    """Type of the file system that holds a path, from /proc/mounts: the last mount on the longest matching folder."""
    best, found = -1, None
    for fields in (line.split() for line in mounts.splitlines()):
        if len(fields) >= 3:
            folder = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1]))
            if path.is_relative_to(folder) and len(folder.parts) >= best:
                best, found = len(folder.parts), fields[2]
    return found


def _hub(online: bool) -> Hub:
    sets = {what.removeprefix("task ").strip("'"): key for key, what in hub_sets(TASKS.values(), corpus=True).items()}
    try:
        from huggingface_hub import constants
    except ImportError:
        models = {name: not isinstance(MODELS[name], HubSource) and _is_here(name) for name in MODELS}
        return Hub(
            cache=None,
            free_bytes=None,
            offline=False,
            endpoint="",
            reachable=None,
            models=models,
            data_sets=dict.fromkeys(sets, False),
        )
    cache = Path(constants.HF_HUB_CACHE).absolute()
    return Hub(
        cache=cache,
        free_bytes=shutil.disk_usage(_nearest(cache)).free,
        offline=bool(constants.HF_HUB_OFFLINE),
        endpoint=constants.ENDPOINT,
        reachable=reach(constants.ENDPOINT) if online else None,
        models={name: _is_here(name) for name in MODELS},
        data_sets={name: bool(cached_files(*key)) for name, key in sets.items()},
    )


def _is_here(model: str) -> bool:
    source = MODELS[model]
    if isinstance(source, PackageSource):
        return util.find_spec(source.package) is not None
    return not find_models([(model, None)], ContentHashes()).missing


def _nearest(path: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def reach(endpoint: str, seconds: float = ANSWER_SECONDS) -> str:
    """Why an address does not respond; "" when it does, with whatever status."""
    try:
        request = urllib.request.Request(endpoint, method="HEAD")
        urllib.request.urlopen(request, timeout=seconds).close()
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _slurm() -> dict[str, str]:
    found = {name: "" for name in SLURM_COMMANDS if shutil.which(name)}
    if "sbatch" in found:
        found["sbatch"] = _output(["sbatch", "--version"])
    return found


def _output(command: Sequence[str]) -> str:
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": ANSWER_SECONDS}
    try:
        return subprocess.run(command, **options).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
