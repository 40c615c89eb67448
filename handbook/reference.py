"""The reference: every page that is made from the code, by its path on the site."""

from __future__ import annotations

from handbook import command_line, formats, kinds, method_facts, presets, python_api


def pages() -> dict[str, str]:
    return {
        command_line.PATH: command_line.page(),
        kinds.PATH: kinds.page(),
        method_facts.PATH: method_facts.page(),
        formats.PATH: formats.page(),
        **python_api.pages(),
        **presets.pages(),
    }
