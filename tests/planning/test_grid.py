from pathlib import Path

import pytest
from grid_world import preset, sentences

from harness.errors import UsageError
from harness.planning.grid import Axes, Grid, expand
from harness.planning.preset import load_preset
from harness.specs import Cell


def grid(**axes: object) -> Grid:
    return expand(Axes(**{"models": ["tiny"], **axes}), preset())


def rows(found: Grid) -> list[tuple[str, float, str]]:
    """(method, sparsity, quantization) of the cells, in order, repeats over tasks and seeds left out."""
    return list(dict.fromkeys((cell.method, cell.sparsity, cell.quantization) for cell in found.cells))


PRESET_ROWS = [
    ("dense", 0.0, "none"),
    ("finetune-pruning", 0.85, "none"),
    ("prune-ofa-no-kd", 0.85, "none"),
    ("prune-ofa", 0.85, "none"),
    ("prune-ofa", 0.85, "int8"),
]


def test_without_methods_sparsities_and_quantization_the_presets_rows_are_meant() -> None:
    found = grid()
    assert rows(found) == PRESET_ROWS
    assert len(found.cells) == 5 * 2
    assert found.dropped == ()


def test_models_tasks_and_seeds_filter_the_rows() -> None:
    found = grid(models=["b", "a"], tasks=["squad"], seeds=(0, 1, 2))
    assert rows(found) == PRESET_ROWS
    assert len(found.cells) == 5 * 2 * 1 * 3
    assert {cell.task for cell in found.cells} == {"squad"}


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({"methods": ["prune-ofa"]}, [("prune-ofa", 0.85, "none")]),
        # Every method of the preset; dense has no sparsity axis and stays at 0.
        (
            {"sparsities": [0.9, 0.5]},
            [
                ("dense", 0.0, "none"),
                *((m, s, "none") for m in ("finetune-pruning", "prune-ofa-no-kd", "prune-ofa") for s in (0.5, 0.9)),
            ],
        ),
        (
            {"quantization": ["int8"]},
            [
                ("dense", 0.0, "int8"),
                *((m, 0.85, "int8") for m in ("finetune-pruning", "prune-ofa-no-kd", "prune-ofa")),
            ],
        ),
        (
            {"methods": ["prune-ofa", "dense"], "sparsities": [0.5], "quantization": ["int8", "none"]},
            [
                ("dense", 0.0, "none"),
                ("dense", 0.0, "int8"),
                ("prune-ofa", 0.5, "none"),
                ("prune-ofa", 0.5, "int8"),
            ],
        ),
    ],
)
def test_naming_one_of_them_means_the_full_product(axes: dict[str, object], expected: list[object]) -> None:
    assert rows(grid(**axes)) == expected


def test_dense_stands_once_however_many_sparsities_there_are() -> None:
    found = grid(methods=["dense"], sparsities=[0.5, 0.85, 0.9], tasks=["sst2"])
    assert [(cell.method, cell.sparsity) for cell in found.cells] == [("dense", 0.0)]


def test_dropped_combinations_are_listed_once_each() -> None:
    found = grid(methods=["dense", "prune-ofa"], sparsities=[0.0, 0.5], seeds=(0, 1))
    assert rows(found) == [("dense", 0.0, "none"), ("prune-ofa", 0.5, "none")]
    (reason,) = found.dropped
    assert reason.startswith("prune-ofa at sparsity 0")


def test_a_grid_without_a_cell_says_why() -> None:
    with pytest.raises(UsageError) as caught:
        grid(methods=["prune-ofa", "finetune-pruning"], sparsities=[0.0])
    assert sentences(caught.value)[0] == "the grid has no cell."
    assert sorted(reason.split()[0] for reason in sentences(caught.value)[1:]) == ["finetune-pruning", "prune-ofa"]


def test_pruning_seeds_are_an_axis_of_methods_that_prune_in_pretraining_only() -> None:
    found = grid(tasks=["sst2"], pruning_seeds=(3, 4))
    by_method = {method: [c.pruning_seed for c in found.cells if c.method == method] for method, _, _ in PRESET_ROWS}
    assert by_method == {
        "dense": [0],
        "finetune-pruning": [0],
        "prune-ofa-no-kd": [3, 4],
        "prune-ofa": [3, 4, 3, 4],  # fp32, int8
    }


def test_cells_come_in_one_order_without_repeats() -> None:
    one = grid(models=["b", "a"], seeds=(1, 0), tasks=["squad", "sst2"])
    other = grid(models=["a", "b", "a"], seeds=(0, 1, 1), tasks=["sst2", "squad", "squad"])
    assert one.cells == other.cells
    assert len(set(one.cells)) == len(one.cells)
    # Models by name, then the preset's tasks (sst2 is the cheap one), then its rows, then seeds.
    assert [(c.model, c.task, c.method, c.seed) for c in one.cells[:3]] == [
        ("a", "sst2", "dense", 0),
        ("a", "sst2", "dense", 1),
        ("a", "sst2", "finetune-pruning", 0),
    ]


def test_every_problem_of_the_axes_is_listed_at_once() -> None:
    axes = Axes(
        models=[],
        methods=["prune-off", "dense"],
        sparsities=[85, 0.5, float("nan"), -0.1, 1.0],
        tasks=["sst", "squad"],
        quantization=["int4"],
        seeds=(-1, 0),
        pruning_seeds=(-2, 2**32),
    )
    with pytest.raises(UsageError) as caught:
        expand(axes, preset())
    problems = sentences(caught.value)
    expected = [
        ("--models is empty", ""),
        ("method 'prune-off' is not known", "Did you mean 'prune-ofa'"),
        ("task 'sst' is not known", "Did you mean 'sst2'"),
        ("quantization 'int4' is not known", "Did you mean 'int8'"),
        ("sparsity 85: expected a fraction in [0, 1)", "For 85 percent write 0.85."),
        ("sparsity nan: expected a fraction", ""),
        ("sparsity -0.1: expected a fraction", ""),
        ("sparsity 1: expected a fraction", ""),
        ("seed -1: expected 0 or more", ""),
        ("seed -2: expected 0 or more", ""),
        ("seed 4294967296: expected 4294967295 or less", ""),
    ]
    assert len(problems) == len(expected)
    for problem, (start, hint) in zip(problems, expected, strict=True):
        assert problem.startswith(start)
        assert hint in problem
    assert [problem for problem in problems if "percent" in problem] == [problems[4]]


@pytest.mark.parametrize(
    ("sparsity", "problem"),
    [
        (0.8500000001, "sparsity 0.8500000001: expected 6 decimals at most, as a page prints it. Write 0.85."),
        (0.1234567, "sparsity 0.1234567: expected 6 decimals at most, as a page prints it. Write 0.123457."),
        (1e-300, "sparsity 1e-300: expected 6 decimals at most, as a page prints it."),
        (0.9999999999999, "sparsity 0.9999999999999: expected 6 decimals at most, as a page prints it."),
    ],
)
def test_a_sparsity_that_no_page_could_tell_from_another_is_refused(
    tmp_path: Path, sparsity: float, problem: str
) -> None:
    """In a grid and in a preset's rows."""
    with pytest.raises(UsageError) as caught:
        expand(Axes(models=["tiny"], methods=["prune-ofa"], sparsities=[0.85, sparsity]), preset())
    assert sentences(caught.value) == [problem]
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'description = "d"\nextends = "quick"\n'
        f'rows = [{{ method = "prune-ofa", sparsities = [{sparsity!r}], quantization = ["none"] }}]\n'
    )
    with pytest.raises(UsageError) as caught:
        load_preset(str(mine))
    assert sentences(caught.value) == [f"preset 'mine': row 1: {problem}"]


def test_sparsities_that_differ_by_arithmetic_alone_are_one_cell() -> None:
    """17 * 0.05 is 0.8500000000000001 in floating point; also where it is the only one."""
    assert 17 * 0.05 != 0.85
    for sparsities in ([0.85, 17 * 0.05], [17 * 0.05]):
        cells = expand(
            Axes(models=["tiny"], methods=["prune-ofa"], sparsities=sparsities, tasks=["sst2"]), preset()
        ).cells
        assert [cell.sparsity for cell in cells] == [0.85]


def test_a_name_like_no_other_is_answered_with_the_names_there_are() -> None:
    ((problem, concerned),) = ((each.message, each.option) for each in Axes(models=["m"], tasks=["zzz"]).problems())
    assert concerned == "tasks"
    assert "Did you mean" not in problem
    assert "Known: cola, mnli, mrpc, qnli, qqp, rte, squad, sst2, stsb." in problem


def test_a_cell_reads_well() -> None:
    cell = Cell(model="tiny", method="prune-ofa", sparsity=0.85, task="sst2", quantization="int8", seed=1)
    assert str(cell) == "tiny prune-ofa 0.85 sst2 int8 seed 1"
    assert cell.as_json() == {
        "model": "tiny",
        "method": "prune-ofa",
        "sparsity": 0.85,
        "task": "sst2",
        "quantization": "int8",
        "seed": 1,
        "pruning_seed": 0,
    }
