"""What Alembic runs migrations in: the connection, and its transaction, that `migrate` gives it."""

from alembic import context


def run() -> None:
    """Run the migrations that are asked for."""
    context.configure(connection=context.config.attributes["connection"])
    context.run_migrations()


if __name__ == "env_py":  # the name under which Alembic loads this file
    run()
