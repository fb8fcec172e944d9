"""Everything agentrt raises, as a tree.

AgentrtError
├── ProjectError            the project or its configuration cannot be used
├── ToolDefinitionError     a function cannot become a tool
│   └── DuplicateTool
├── ArgumentsInvalid        arguments do not fit the tool's schema
├── FactDefinitionError     a function cannot become a fact
├── PolicyError             the policy bundle cannot be used: nothing runs
├── NotFound                no such run, call, record or agent
├── QueryInvalid            a question to the audit store is written wrongly
├── ExportRefused           an endpoint did not take what was exported
├── ApprovalError           a decision of a person was not taken
│   ├── NotHeld
│   ├── Stale
│   ├── Expired
│   ├── NotAllowed
│   └── SignatureInvalid
├── RunError                a run cannot go on
│   ├── RunOver
│   ├── CarriedElsewhere
│   └── Overloaded
├── StoreError              the audit store cannot be used: nothing runs
│   ├── StoreUnavailable
│   ├── StoreTooOld
│   ├── StoreTooNew
│   ├── RecordTooNew
│   ├── StoreCorrupt
│   │   └── StoreCutBack
│   ├── SQLiteTooOld
│   ├── Conflict
│   ├── ErasureRefused
│   └── ClockWentBack
├── NotDelivered            nobody could be told
├── ProofError              a proof does not show what it should
│   ├── NotProven
│   ├── NoteInvalid
│   ├── KeyUnusable
│   └── ReceiptInvalid
├── ClaudeError             a request to Claude was refused before it was sent
│   ├── ModelRefused
│   └── CredentialsMissing
└── StandInError            the scripted Claude cannot do what it was asked

ToolError                   raised *by* a tool: its text is meant for Claude
"""

__all__ = [
    "AgentrtError",
    "ApprovalError",
    "ArgumentsInvalid",
    "CarriedElsewhere",
    "ClaudeError",
    "ClockWentBack",
    "Conflict",
    "CredentialsMissing",
    "DuplicateTool",
    "ErasureRefused",
    "Expired",
    "ExportRefused",
    "FactDefinitionError",
    "KeyUnusable",
    "ModelRefused",
    "NotAllowed",
    "NotDelivered",
    "NotFound",
    "NotHeld",
    "NotProven",
    "NoteInvalid",
    "Overloaded",
    "PolicyError",
    "ProjectError",
    "ProofError",
    "QueryInvalid",
    "ReceiptInvalid",
    "RecordTooNew",
    "RunError",
    "RunOver",
    "SQLiteTooOld",
    "SignatureInvalid",
    "Stale",
    "StandInError",
    "StoreCorrupt",
    "StoreCutBack",
    "StoreError",
    "StoreTooNew",
    "StoreTooOld",
    "StoreUnavailable",
    "ToolDefinitionError",
    "ToolError",
]


class AgentrtError(Exception):
    """Something agentrt refuses to do, with what to do about it."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class ProjectError(AgentrtError):
    """The project cannot be used."""


class ToolDefinitionError(AgentrtError):
    """This function cannot become a tool."""


class DuplicateTool(ToolDefinitionError):
    """Two tools have one name."""


class ArgumentsInvalid(AgentrtError):
    """The arguments do not fit the tool's schema."""


class FactDefinitionError(AgentrtError):
    """This cannot become a fact."""


class PolicyError(AgentrtError):
    """The policy bundle cannot be used, so nothing runs."""


class QueryInvalid(AgentrtError):
    """A question to the audit store is written wrongly; says where, and what was meant."""

    def __init__(self, what: str, query: str = "", at: int | None = None) -> None:
        self.what = what
        self.query = query
        self.at = at
        """Where in the query, in characters from 0."""
        place = "" if at is None else f"\n  {_one_line(query)}\n  {'':<{at}}^"
        super().__init__(f"{what}{place}")


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


class ExportRefused(AgentrtError):
    """The endpoint did not take what was exported; what came before it is there."""


class NotFound(AgentrtError):
    """There is nothing with this id."""


class ApprovalError(AgentrtError):
    """The decision was not taken."""


class NotHeld(ApprovalError):
    """The call is not held: it was decided already, or never asked for a person."""


class Stale(ApprovalError):
    """The call has changed since it was shown: look at it again."""


class Expired(ApprovalError):
    """The time to decide is over: the call counts as rejected."""


class NotAllowed(ApprovalError):
    """This reviewer may not decide this call."""


class SignatureInvalid(ApprovalError):
    """The signature is not by a key of this reviewer, or not over this statement."""


class RunError(AgentrtError):
    """The run cannot go on."""


class RunOver(RunError):
    """The run is over."""


class CarriedElsewhere(RunError):
    """Another living process carries this run."""


class Overloaded(RunError):
    """There is too much to do already: nothing was recorded, try again later."""


class StoreError(AgentrtError):
    """The audit store cannot be used, so nothing runs."""


class StoreUnavailable(StoreError):
    """The audit store does not answer."""


class StoreTooOld(StoreError):
    """The audit store was made by an older agentrt: `agentrt db migrate` brings it up to date."""


class StoreTooNew(StoreError):
    """The audit store was written by a newer agentrt: upgrade this one."""


class RecordTooNew(StoreError):
    """A newer agentrt wrote this record: upgrade this one."""


class StoreCorrupt(StoreError):
    """The audit store does not hold what its hashes say."""


class StoreCutBack(StoreCorrupt):
    """The audit store is shorter than it was, or is another one: somebody cut or replaced it."""


class SQLiteTooOld(StoreError):
    """This SQLite can corrupt a store that two processes write."""


class Conflict(StoreError):
    """The run has moved on since it was read: read it again."""


class ErasureRefused(StoreError):
    """This content may not be erased now."""


class ClockWentBack(StoreError):
    """The clock is behind the newest record: set it right before anything runs."""


class NotDelivered(AgentrtError):
    """The target could not be told."""

    def __init__(self, message: str | None = None, *, again: bool = True) -> None:
        super().__init__(message)
        self.again = again
        """Whether trying again may help."""


class ProofError(AgentrtError):
    """This does not show what it should."""


class NotProven(ProofError):
    """The proof does not hold."""


class NoteInvalid(ProofError):
    """This is not a signed note, or not by this key."""


class KeyUnusable(ProofError):
    """The key cannot be used."""


class ReceiptInvalid(ProofError):
    """The receipt is not what was signed, or does not show what it says."""


class ClaudeError(AgentrtError):
    """The request to Claude was refused before it was sent."""


class ModelRefused(ClaudeError):
    """This model id cannot be used."""


class CredentialsMissing(ClaudeError):
    """There is no key for the Claude API."""


class StandInError(AgentrtError):
    """The scripted Claude cannot do this."""


class ToolError(Exception):
    """Raised by a tool: *I did not do it, and this is why*, in words meant for Claude.

    From an irreversible tool it promises that nothing happened. Any other exception of
    such a tool leaves the call in doubt, since nobody can know how far it came.
    """
