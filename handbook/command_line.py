"""The reference of the command line: every verb with its options, from the parsers that read them."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from collections.abc import Iterator

from handbook.markdown import block, code, plain, sections, table
from harness.cli import main
from harness.cli.verbs import VERBS, Verb

PATH = "docs/reference/command-line.md"
WIDTH = 84
_EXIT = re.compile(r"Exit codes?:? .*?(?=\s*Raises |\Z)", re.DOTALL)


def page() -> str:
    return sections(
        "# Command line",
        "Every verb and option, from the parsers that read them; `harness VERB --help` prints the same. What they "
        "promise: [running grids](../running.md).",
        table(["verb", "what it does"], ([f"[`{v.name}`](#harness-{v.name})", plain(v.help)] for v in VERBS)),
        "## Exit codes",
        plain(_exit_codes(main)),
        *(_section(verb) for verb in VERBS),
    )


def parser_of(verb: Verb) -> argparse.ArgumentParser:
    """The verb's own parser, with a width that does not depend on a terminal."""

    def formatter(prog: str) -> argparse.HelpFormatter:
        return argparse.HelpFormatter(prog, width=WIDTH)

    parser = argparse.ArgumentParser(prog=f"harness {verb.name}", formatter_class=formatter)
    verb.arguments(parser)
    return parser


def arguments_of(verb: Verb) -> Iterator[argparse.Action]:
    """What a verb reads, but for --help. argparse has no public name for the list."""
    for action in parser_of(verb)._actions:
        if action.dest != "help":
            yield action


def _section(verb: Verb) -> str:
    module, _, function = verb.command.partition(":")
    rows = [[code(_written(action)), _default(action), plain(_help(action))] for action in arguments_of(verb)]
    return sections(
        f"## harness {verb.name}",
        plain(f"{verb.help[:1].upper()}{verb.help[1:]}."),
        block(parser_of(verb).format_usage().removeprefix("usage: ")),
        table(["argument", "default", "what it says"], rows),
        plain(_exit_codes(getattr(importlib.import_module(module), function))),
    )


def _written(action: argparse.Action) -> str:
    """-f, --follow; --study NAME; WHAT."""
    if not action.option_strings:
        return str(action.metavar or action.dest)
    names = ", ".join(action.option_strings)
    if action.nargs == 0:
        return names
    value = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.metavar
    value = value or action.dest.upper()
    return f"{names} [{value}]" if action.nargs == "?" else f"{names} {value}"


def _default(action: argparse.Action) -> str:
    if action.required and action.nargs != "?":
        return "needed"
    return "" if action.default in (None, False, []) else code(action.default)


def _help(action: argparse.Action) -> str:
    listed = f"One of {', '.join(map(str, action.choices))}. " if action.choices and not action.option_strings else ""
    return f"{listed}{(action.help or '').replace('%%', '%')}".strip()


def _exit_codes(told: object) -> str:
    """What a docstring says of exit codes."""
    found = _EXIT.search(inspect.getdoc(told) or "")
    return " ".join(found[0].split()) if found else ""
