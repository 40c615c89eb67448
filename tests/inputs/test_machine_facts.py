"""A record names what of the machine can change its last bits."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from harness.inputs.machine_facts import _KERNEL_VARIABLES, machine_facts, machine_in_words

X86 = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Platinum 8259CL
stepping\t: 7
flags\t\t: fpu vme smep sse sse2 ht ssse3 fma sse4_1 avx f16c bmi1 avx2 avx512f avx512_vnni amx_tile nopl

processor\t: 1
vendor_id\t: Other
model name\t: another
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes sve i8mm bf16\n"


def test_the_processor_is_named_with_the_instructions_that_kernels_are_chosen_by() -> None:
    facts = machine_facts(X86)
    assert facts["processor"] == "Intel(R) Xeon(R) Platinum 8259CL"
    assert facts["processor_version"] == "GenuineIntel 6 85 7"
    assert facts["vector_flags"] == "amx_tile avx avx2 avx512_vnni avx512f f16c fma sse sse2 sse4_1 ssse3"
    assert facts["machine"] == platform.machine()
    assert facts["cores"] == os.cpu_count()


def test_an_arm_processor_and_a_machine_that_tells_nothing() -> None:
    assert machine_facts(ARM)["vector_flags"] == "asimd bf16 i8mm sve"
    assert machine_facts("")["vector_flags"] == ""
    assert machine_facts("")["processor"] == platform.processor()


def test_what_torch_computes_with_is_what_it_says_in_a_process_of_its_own() -> None:
    """Threads are those of the moment; the capability follows the variable that torch itself obeys."""
    code = (
        "import torch; torch.set_num_threads(1); from harness.inputs.machine_facts import machine_facts; "
        "f = machine_facts(); print(f['torch']['cpu_capability'], f['torch']['threads'], f['kernel_variables'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
        capture_output=True,
        text=True,
        check=True,
    )
    chosen = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
    assert done.stdout.strip().lower() == f"default 1 {chosen}".lower()


def test_blas_is_the_one_of_the_build() -> None:
    facts = machine_facts()["torch"]
    assert f"BLAS_INFO={facts['blas']}," in torch.__config__.show()
    assert facts["gpus"] == [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def test_a_stage_without_torch_does_not_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    assert machine_facts()["torch"] is None
    assert "torch" not in sys.modules


def test_a_measurement_of_time_is_told_apart_by_instructions_and_by_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _KERNEL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    words = machine_in_words(X86)
    assert words.startswith("Intel(R) Xeon(R) Platinum 8259CL GenuineIntel 6 85 7, ")
    assert " cores with amx_tile avx avx2 avx512_vnni avx512f f16c fma sse sse2 sse4_1 ssse3; torch " in words
    assert machine_in_words(X86.replace(" avx512_vnni", "")) != words
    assert machine_in_words(X86.replace(" nopl", "")) == words  # no kernel is chosen by it
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert machine_in_words(X86) == f"{words}; ONEDNN_MAX_CPU_ISA=AVX2"
    assert machine_in_words() != machine_in_words(X86)
