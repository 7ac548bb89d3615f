"""Colours and layout of the full-screen wizard: one neutral scale, one accent, three meanings, each beside a word."""

from __future__ import annotations

import os
from typing import Final

from textual.theme import Theme

DARK: Final = Theme(
    name="pits-dark",
    dark=True,
    background="#14181c",
    surface="#1c2228",
    panel="#262e36",
    foreground="#e8eaec",
    primary="#63bdf2",
    secondary="#9aa6b1",
    accent="#63bdf2",
    success="#71d394",
    warning="#f0b35a",
    error="#ff7b72",
    variables={"muted": "#9aa6b1", "on-accent": "#0b1116"},
)
LIGHT: Final = Theme(
    name="pits-light",
    dark=False,
    background="#fbfbfa",
    surface="#f0f1f1",
    panel="#e2e5e7",
    foreground="#1b1f23",
    primary="#075a93",
    secondary="#4f5a64",
    accent="#075a93",
    success="#17683a",
    warning="#7a4a00",
    error="#ab1f18",
    variables={"muted": "#4f5a64", "on-accent": "#ffffff"},
)
PLAIN: Final = Theme(
    name="pits-plain",
    ansi=True,
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    foreground="ansi_default",
    primary="ansi_default",
    secondary="ansi_default",
    accent="ansi_default",
    success="ansi_default",
    warning="ansi_default",
    error="ansi_default",
    boost="ansi_default",
    variables={
        "muted": "ansi_default",
        "on-accent": "ansi_default",
        "ansi-background": "ansi_default",
        "ansi-foreground": "ansi_default",
        "input-cursor-text-style": "reverse",
    },
)
"""The terminal's own two colours, for NO_COLOR: focus is told by marks, bold and reversed letters."""


def theme_for_terminal() -> Theme:
    """PLAIN where NO_COLOR is set, LIGHT where the terminal says that its background is light, else DARK."""
    if os.environ.get("NO_COLOR"):
        return PLAIN
    # COLORFGBG is `foreground;background` in the 16 colours of old; 7 and 15 are the light ones.
    return LIGHT if os.environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15") else DARK


CSS: Final = """
Screen { background: $background; color: $foreground; layout: vertical; }
#head { height: 1; background: $panel; padding: 0 1; }
#head-title { width: auto; text-style: bold; }
#head-machine {
    width: 1fr; text-align: right; color: $muted; padding-left: 2; text-wrap: nowrap; text-overflow: ellipsis;
}
#middle { height: 1fr; }
#rail { width: 20; padding: 1 0 0 1; color: $muted; }
#body { width: 1fr; padding: 1 2 0 1; }
#keys { height: 1; background: $panel; padding: 0 1; }
.-narrow #rail { display: none; }
.-narrow #body { padding: 0 1; }
.-wide #rail { width: 26; padding: 1 0 0 2; }
.-wide #body { padding: 1 4 0 2; max-width: 110; }

Page { height: 1fr; layout: vertical; }
.title { text-style: bold; color: $accent; height: 1; }
.title.-alone { margin-bottom: 1; }
.intro { color: $muted; height: auto; margin-bottom: 1; }
.content { height: 1fr; scrollbar-size-vertical: 1; scrollbar-color: $muted; scrollbar-background: $background; }
.help { height: 2; color: $muted; margin-top: 1; }
.status { height: auto; color: $foreground; display: none; }
.status.-shown { display: block; }
.buttons { height: 1; margin-bottom: 1; margin-top: 1; }
Button, Button:hover {
    height: 1; min-width: 8; border: none; padding: 0; margin-right: 1;
    background: $panel; color: $foreground; text-style: none; tint: transparent;
}
Button:focus { background: $accent; color: $on-accent; text-style: bold; background-tint: transparent; }
Button:disabled { color: $muted; text-style: dim; opacity: 1; text-opacity: 1; }

FieldRow { height: auto; }
FieldRow .line { height: 1; }
FieldRow .label { width: 18; color: $foreground; }
FieldRow.-focused .label { color: $accent; text-style: bold; }
FieldRow .error { color: $error; height: auto; margin-left: 19; display: none; }
FieldRow.-wrong .error { display: block; }
FieldRow Choice.suggestions { margin-left: 18; }
FieldRow .tall { height: auto; }
Input, Input:focus {
    height: 1; border: none; padding: 0 1; background: $surface; color: $foreground; background-tint: transparent;
}
Input:focus { background: $panel; }
Input > .input--placeholder { color: $muted; }
Input > .input--cursor { text-style: reverse; }
Choice { height: auto; width: 1fr; padding: 0 1; background: $background; }
Choice:focus { background: $panel; }

.note { height: auto; }
.note-mark { width: 2; }
.note-text { width: 1fr; height: auto; }
.note-address { color: $accent; text-style: bold; padding-left: 2; }
.note-detail { padding-left: 2; }
.note-good { color: $success; }
.note-attention { color: $warning; }
.note-fault { color: $error; text-style: bold; }
.row { height: auto; }
.row-label { width: 14; color: $muted; }
.row-text { width: 1fr; height: auto; }
.rows { height: auto; }
.notes { height: auto; margin-top: 1; }

.step { height: auto; }
.step-mark { width: 11; }
.step-text { width: 1fr; height: auto; }
.-impossible .step-mark, .-impossible .step-text { color: $error; text-style: bold; }
.-needed .step-mark { color: $accent; }
.-done .step-mark { color: $success; }
.what { color: $muted; height: auto; margin-left: 11; }
.-impossible .what { color: $foreground; }
.count { text-style: bold; height: auto; margin-bottom: 1; }

StepList {
    height: 1fr; border: none; padding: 0; background: $background; scrollbar-size-vertical: 1;
    background-tint: transparent;
}
StepList:focus { border: none; }
StepList > .option-list--option-highlighted { background: $surface; color: $foreground; text-style: bold; }
StepList:focus > .option-list--option-highlighted { background: $panel; color: $foreground; text-style: bold; }
.log-title { color: $muted; height: 1; margin-top: 1; border-top: none; }
#log { height: 30%; min-height: 5; background: $surface; color: $foreground; padding: 0 1; scrollbar-size: 1 1; }

Dialog { align: center middle; background: $background 60%; }
.dialog {
    width: 64; max-width: 96%; height: auto; max-height: 96%; padding: 1 2; background: $surface;
    border: round $accent;
}
.dialog Button { background: $panel; }
.dialog Button:focus { background: $accent; }
.dialog Input { background: $background; }
.dialog Input:focus { background: $panel; }
.dialog .buttons { margin: 1 0 0 0; }
.dialog-title { text-style: bold; height: auto; margin-bottom: 1; }
.dialog-text { height: auto; margin-bottom: 1; }
.detail { height: auto; margin-bottom: 1; color: $accent; }
.dialog .error { color: $error; height: auto; }
.code { width: 100%; height: auto; text-align: center; text-style: bold; color: $accent; margin: 1 0; }
.code-plain { width: 100%; text-align: center; text-style: bold; margin-bottom: 1; }
Register .dialog { width: 76; }

.-plain Button:focus, .-plain Choice:focus { text-style: bold reverse; }
.-plain .option-list--option-highlighted { text-style: bold reverse; }
"""
