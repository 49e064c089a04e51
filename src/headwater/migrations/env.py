"""Alembic's entry: runs the migrations on the connection that `core.migrations` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=context.config.attributes.get("metadata"))
context.run_migrations()
