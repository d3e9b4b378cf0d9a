"""The command `shoal-bench`: reproducible measurements."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from bench import metadata
from bench.idle.command import idle, scan
from bench.lan.command import lan
from bench.metadata import Row
from bench.offload.command import offload
from bench.options import JSON_OPTION
from bench.swarm.command import swarm
from bench.tracker.command import tracker
from bench.traffic.command import traffic
from bench.uplink.command import uplink


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("shoal"), prog_name="shoal-bench")
def main() -> None:
    """Measure Shoal, side by side with what a user would pick instead."""


main.add_command(lan)
main.add_command(swarm)
main.add_command(uplink)
main.add_command(offload)
main.add_command(traffic)
main.add_command(tracker)
main.add_command(scan)
main.add_command(idle)


@main.command("metadata")
@JSON_OPTION
def metadata_command(json_file: Path | None) -> None:
    """Bytes that one change costs besides its contents. Exits 1 when the format alone passes a limit."""
    rows = metadata.measure_all()
    _print_table(rows)
    if json_file is not None:
        json_file.write_text(json.dumps(metadata.as_json(rows), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if any(row.verdict == "RED" for row in rows):
        raise click.exceptions.Exit(1)


def _print_table(rows: Sequence[Row]) -> None:
    table = Table(title="Bytes for one change", box=box.SIMPLE_HEAD)
    table.add_column("change")
    for title in ("commit", "reply", "notice", "metadata", "chunks", "total", "limit"):
        table.add_column(title, justify="right")
    table.add_column("")
    for row in rows:
        figures = (row.commit, row.reply, row.notice, row.metadata, row.chunks, row.total, row.limit)
        table.add_row(row.name, *(f"{figure:,}" for figure in figures), row.verdict)
    Console(width=120, soft_wrap=True).print(table, NOTES, sep="")


NOTES = f"""\
commit, reply: at the author. notice: at a receiver, with the delta. metadata: at whichever device carries more, with
an estimated {metadata.HTTP_HEADERS} bytes of headers for each request and each reply. chunks: new sealed chunks.
total: metadata, chunks and their packs, at that device. The limit holds for the total; for the edit in 1,000 MiB, for
the metadata. "chunker": the metadata is within the limit, what the chunker cuts is not.
"""
