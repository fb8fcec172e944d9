"""Where a value comes from: whether the user named it, or which result of a tool it was in."""

from agentrt.policy.provenance.fields import fields_of, is_field, may_hold_field
from agentrt.policy.provenance.texts import NOTHING_NAMED, Place, Texts

__all__ = ["NOTHING_NAMED", "Place", "Texts", "fields_of", "is_field", "may_hold_field"]
