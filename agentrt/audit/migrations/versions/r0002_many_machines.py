"""Who carries runs and whose turn it is, chores and notices; the Merkle tree and its checkpoints.

Nothing of the records changes, so that what proves them proves them afterwards too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STRICT = {"sqlite_strict": True}


def upgrade() -> None:
    """Make the tables that are new, and protect what is only ever added to."""
    _workers()
    _chores()
    _tree()
    _protect("leaf", "node", "checkpoint", "cosignature")


def downgrade() -> None:
    """An older agentrt would not see what keeps two processes from one run."""
    raise NotImplementedError("Restore the backup that was made before the migration.")


def _workers() -> None:
    op.create_table(
        "process",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("started_at", BIG, nullable=False),
        sa.Column("ended_at", BIG),
    )
    op.create_table(
        "worker",
        sa.Column("process", sa.Text(), primary_key=True),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("agents", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("runs_at_once", sa.Integer(), nullable=False),
        sa.Column("started_at", BIG, nullable=False),
        sa.Column("seen_at", BIG, nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "served",
        sa.Column("user", sa.Text(), primary_key=True),
        sa.Column("at", BIG, nullable=False),
    )
    whose = sa.text("coalesce(\"user\", '')")
    op.create_index("run_ready", "run", ["status", whose, "started_at"])


def _chores() -> None:
    op.create_table(
        "chore",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("until", BIG, nullable=False),
        sa.Column("done_at", BIG, nullable=False),
    )
    op.create_table(
        "notice",
        sa.Column("target", sa.Text(), primary_key=True),
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", BIG, nullable=False),
        sa.Column("at", BIG, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_index("notice_due", "notice", ["state", "due_at"])


def _tree() -> None:
    op.create_table(
        "leaf",
        sa.Column("idx", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        **STRICT,
    )
    op.create_index("leaf_run", "leaf", ["run", "seq"], unique=True)
    op.create_table(
        "node",
        sa.Column("level", sa.Integer(), primary_key=True),
        sa.Column("n", sa.Integer(), primary_key=True),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        **STRICT,
    )
    op.create_table(
        "checkpoint",
        sa.Column("size", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("at", BIG, nullable=False),
        sa.Column("pos", BIG, nullable=False),
        **STRICT,
    )
    op.create_table(
        "cosignature",
        sa.Column("size", sa.Integer(), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("line", sa.Text(), nullable=False),
        **STRICT,
    )


def _protect(*tables: str) -> None:
    for table in tables:
        for verb in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER {table}_{verb} BEFORE {verb.upper()} ON {table}\n"
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
