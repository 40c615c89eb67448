"""The reference of methods: what each declares and what is read off its stages, with a link to its page."""

from __future__ import annotations

from pathlib import PurePosixPath

from handbook.markdown import code, plain, sections
from handbook.tree import ROOT
from harness.planning.method import Method
from harness.planning.method_path import path_of
from harness.planning.method_registry import BUILT_IN, get_method

PATH = "docs/reference/methods.md"


def page_of(target: str) -> str:
    """The page of the built-in method that stands at package.module:METHOD, from the root of the tree."""
    module = target.partition(":")[0].replace(".", "/")
    folder_page = f"{module}/README.md"
    return folder_page if (ROOT / folder_page).is_file() else f"{module}.md"


def page() -> str:
    return sections(
        "# Methods as declared",
        "What `harness ls methods` prints: source, stages, and what a cell and its neighbours cost. How a method is "
        "used, its settings and where it differs from its source stand on its own page.",
        *(_section(get_method(name), target) for name, target in BUILT_IN.items()),
    )


def _section(method: Method, target: str) -> str:
    path = path_of(method)
    link = PurePosixPath("../..", page_of(target))
    facts = {
        "in tables": plain(method.title),
        "source": plain(method.source),
        "distils in transfer": method.transfer_kd,
        "cost": path.cost,
        "stage kinds of its own": ", ".join(code(kind.name) for kind in method.kinds),
        "page": f"[{page_of(target)}]({link})",
    }
    return sections(
        f"## {method.name}",
        plain(method.note),
        "\n".join(f"- {name}: {told}" for name, told in facts.items() if told),
        "Stages:",
        "\n".join(f"- {plain(str(stages))}" for stages in path.stages),
    )
