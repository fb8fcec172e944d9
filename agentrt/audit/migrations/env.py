"""What Alembic runs migrations in: the connection, and its transaction, that `migrate` gives it."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
