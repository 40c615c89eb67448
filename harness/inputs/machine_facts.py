"""What of a machine can change the last bits of a number, and so must stand in every record.

Libraries choose their kernels by the processor's vector instructions, and another kernel adds up in another order.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

# Instructions that torch, BLAS and oneDNN choose kernels by: SSE to AVX-512 and AMX on x86, NEON and SVE on ARM.
_VECTOR_FLAG = re.compile(r"(s?sse|fma|f16c|avx|amx|asimd|neon|sve|sme(?!p)|bf16|i8mm)")
# Variables by which a user chooses them.
_KERNEL_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
)


def machine_facts(cpuinfo: str | None = None) -> dict[str, Any]:
    """Architecture, processor, vector flags, cores and kernel variables; with torch imported, what torch computes with.

    cpuinfo: text in the form of Linux's /proc/cpuinfo; None: this machine's.
    torch (null where nothing imported it): its CPU capability (the widest vectors it will use), BLAS library, whether
    oneDNN is there, threads of one operation as they are now, and the GPUs it sees.
    """
    if cpuinfo is None:
        cpuinfo = _cpuinfo()
    return {
        "machine": platform.machine(),
        "processor": _field(cpuinfo, "model name") or platform.processor(),
        "processor_version": " ".join(filter(None, (_field(cpuinfo, name) for name in _VERSION))),
        "vector_flags": " ".join(sorted(flag for flag in _flags(cpuinfo) if _VECTOR_FLAG.match(flag))),
        "cores": os.cpu_count(),
        "kernel_variables": {name: os.environ[name] for name in _KERNEL_VARIABLES if name in os.environ},
        "torch": _torch_facts(),
    }


_VERSION = ("vendor_id", "cpu family", "model", "stepping")


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(cpuinfo: str, name: str) -> str:
    """The first processor's value; "" where there is none."""
    found = re.search(rf"^{name}[ \t]*:[ \t]*(.*)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else ""


def _flags(cpuinfo: str) -> list[str]:
    return (_field(cpuinfo, "flags") or _field(cpuinfo, "Features")).split()  # Features: on ARM


def _torch_facts() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")  # a stage that needs none is not made to wait for it
    if torch is None:
        return None
    blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "blas": blas[1] if blas else "unknown",
        "onednn": torch.backends.mkldnn.is_available(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
    }


# What runs a model: another version has other kernels.
_RUNTIMES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino")


def machine_in_words(cpuinfo: str | None = None) -> str:
    """The machine as a measurement of time needs it: processor, cores, what kernels are chosen by, what runs models.

    Two measurements whose words differ are not to be compared. cpuinfo: as of `machine_facts`.
    """
    facts = machine_facts(cpuinfo)
    versions = []
    for package in _RUNTIMES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{package} absent")
    processor = " ".join(filter(None, (facts["processor"], facts["processor_version"])))
    cores = " with ".join(filter(None, (f"{facts['cores']} cores", facts["vector_flags"])))
    variables = ", ".join(f"{name}={value}" for name, value in facts["kernel_variables"].items())
    return "; ".join(filter(None, (f"{processor}, {cores}", ", ".join(versions), variables)))
