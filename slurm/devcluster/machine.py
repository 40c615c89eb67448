"""Whether this machine can run a dev cluster: programs, root, namespaces, a folder that every user can reach."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from functools import cache
from pathlib import Path

from harness.errors import Problem
from slurm.devcluster.conf import LONGEST_SOCKET_PATH, Layout
from slurm.devcluster.daemons import SYSTEM_PATH
from slurm.devcluster.node import UNSHARE

INSTALL = "needs a real SLURM: apt-get install slurm-wlm slurmdbd munge mariadb-server"
PROGRAMS = ("slurmctld", "slurmd", "scontrol", "sbatch", "munged", "unshare", "nsenter")
PROGRAMS_OF_ACCOUNTING = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db")


@cache
def problem_here(accounting: bool = True) -> Problem | None:
    """Why no dev cluster can run on this machine; None: it can."""
    programs = (*PROGRAMS, *(PROGRAMS_OF_ACCOUNTING if accounting else ()))
    missing = [name for name in programs if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        return Problem(f"Not installed here: {', '.join(missing)}", next_move=f"A dev cluster {INSTALL}")
    if os.geteuid() != 0:
        return Problem("A dev cluster is started by root only", next_move="Start it as root, or in a container.")
    refused = _refusal_of_namespaces()
    if refused:
        return Problem(
            f"This machine refuses the namespaces that make each node a machine of its own ({refused})",
            next_move="In a container, allow them: SYS_ADMIN (docker run --privileged).",
        )
    return None


def _refusal_of_namespaces() -> str:
    """What the system said; "": nothing is refused."""
    attempt = [*UNSHARE, "sh", "-c", "mount --bind /etc/hosts /etc/hosts && hostname probe"]
    ran = subprocess.run(attempt, capture_output=True, text=True, env={"PATH": SYSTEM_PATH})
    return "" if ran.returncode == 0 else (ran.stderr.strip() or f"unshare ended with {ran.returncode}")


def problem_of_folder(folder: Path) -> Problem | None:
    """Why no cluster can live in this folder, which exists; None: it can."""
    sockets = (Layout(folder).munge_socket, Layout(folder).mariadb_socket)
    longest = max(len(os.fsencode(path)) for path in sockets)
    if longest > LONGEST_SOCKET_PATH:
        return Problem(
            f"The folder {folder} has too long a path for the sockets in it ({longest} bytes of {LONGEST_SOCKET_PATH})",
            next_move="Name a folder nearer to the root, as under /tmp.",
        )
    unfit = [character for character in " \t\n\"'%#,;\\" if character in str(folder)]
    if unfit:
        return Problem(f"The folder {folder} has {unfit[0]!r} in its path, which slurm.conf would take apart")
    closed = next((each for each in (folder, *folder.parents) if not each.stat().st_mode & stat.S_IXOTH), None)
    if closed is not None:
        return Problem(
            f"{closed} is closed to other users, and munge's socket must be reached by all",
            next_move=f"Open it (chmod o+x {closed}), or name another folder.",
        )
    writable = next((each for each in (folder, *folder.parents) if _others_write_in(each)), None)
    if writable is not None:
        return Problem(
            f"Others than root can write in {writable}, and munge keeps no key below such a folder",
            next_move="Name a folder that is root's alone, as a new one under /tmp.",
        )
    return None


def _others_write_in(folder: Path) -> bool:
    """As munge asks it: a folder of another user, or writable for group or all and not sticky as /tmp is."""
    told = folder.stat()
    shared = told.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return told.st_uid != 0 or (bool(shared) and not told.st_mode & stat.S_ISVTX)
