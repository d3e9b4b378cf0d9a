import click


@click.command()
def check() -> None:
    """Not there yet."""
