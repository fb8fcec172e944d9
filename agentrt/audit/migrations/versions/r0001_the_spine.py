"""The tables of agentrt 0.1 and 0.2, which say of themselves no revision."""

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing to do: such a store was made with all of them."""


def downgrade() -> None:
    """There is no older agentrt."""
