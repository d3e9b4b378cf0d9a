"""How Alembic runs here: on the connection and in the transaction that `tracker.migrating` hands over."""

from alembic import context

from tracker.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()
