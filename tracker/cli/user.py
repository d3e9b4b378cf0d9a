import click


@click.command()
def user() -> None:
    """Not there yet."""
