import click


@click.command()
def stats() -> None:
    """Not there yet."""
