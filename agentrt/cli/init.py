"""`agentrt init`: a project to start from."""

from __future__ import annotations

from pathlib import Path

import click

from agentrt.cli.output import Output, narrate
from agentrt.cli.project import FILE_NAME, Project, key_path
from agentrt.cli.ready_policies import about, policy_files, ready_policies
from agentrt.cli.reviewing import make_reviewer
from agentrt.errors import AgentrtError, ProjectError

__all__ = ["FILES", "init"]

PROJECT = """\
# The project of these agents. Every key: docs/configuration.md of agentrt.
[project]
environment = "development"

[agents.desk]
model = "claude-sonnet-5-5"
instructions = "You help customers of a small shop. Look an order up before you refund it."
tools = ["find_order", "refund_order"]
"""

TOOLS = '''\
"""Orders: two tools to start from. Every function with @tool in this folder is one."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field

from agentrt.errors import ToolError
from agentrt.tools import Call, tool

ORDERS = {"4417": {"paid_cents": 3200, "charges": 2}}
REFUNDS = Path(__file__).parent.parent / "refunds.jsonl"

OrderId = Annotated[str, Field(pattern=r"^[0-9]{4}$", description="Four digits.")]
Cents = Annotated[int, Field(description="How much, in cents.")]


@tool(effect="read")
def find_order(order_id: OrderId) -> dict[str, int]:
    """Find an order by its number."""
    if order_id not in ORDERS:
        raise ToolError(f"There is no order {order_id}.")
    return ORDERS[order_id]


# The key is the same for every attempt of a call, so that nobody is paid twice.
@tool(effect="irreversible", labels=["moves_money"])
def refund_order(order_id: OrderId, amount_cents: Cents, call: Call) -> str:
    """Pay money back to the customer of an order."""
    if not 0 < amount_cents <= ORDERS.get(order_id, {"paid_cents": 0})["paid_cents"]:
        raise ToolError(f"So much was not paid for order {order_id}.")
    refund = {"order_id": order_id, "amount_cents": amount_cents, "key": call.key}
    with REFUNDS.open("a") as file:
        file.write(json.dumps(refund) + "\\n")
    return f"{amount_cents / 100:.2f} was refunded for order {order_id}."
'''

POLICY = """\
# What may run, what waits for a person, what never runs: deny > hold > allow > the default.
# `agentrt policy check` tells mistakes; with one in it nothing runs.

# What no rule speaks of: tools that only read run, everything else waits for a person.
default: {read: allow}

rules:
  - id: refunds
    decide: hold                  # hold, allow or deny
    tools: [refund_order]         # names, globs, "effect:write", "label:moves_money"
    why: Money that has left does not come back.
    approve: {expires: 4h}        # also: roles, quorum, severity, four_eyes, reason
"""

SCRIPT = """\
# What the scripted Claude says, so that a run needs no key: --simulated script.yaml
turns:
  - when: {turn: 0}
    reply:
      - text: I look the order up.
      - tool_use: {name: find_order, input: {order_id: "4417"}}
  - when: {after: find_order}
    reply:
      - text: The order was charged twice. I refund the second charge.
      - tool_use:
          name: refund_order
          input: {order_id: "4417", amount_cents: "{{ find_order.paid_cents }}"}
  - when: {after: refund_order, error: false}
    reply: Done. 32.00 is on its way back to you.
  - when: {error: true}
    reply: I could not refund it. A colleague will look into it.
"""

IGNORED = """\
agentrt.db*
refunds.jsonl
__pycache__/
"""

REVIEWERS = "policies/reviewers.yaml"

FILES = {
    "agentrt.toml": PROJECT,
    "tools/orders.py": TOOLS,
    "policies/default.yaml": POLICY,
    "script.yaml": SCRIPT,
    ".gitignore": IGNORED,
}


@click.command
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--policy", metavar="NAME", help="Begin with a ready policy: its rules and cases.")
@click.option("--list-policies", is_flag=True, help="List the ready policies, and make nothing.")
def init(folder: Path, policy: str | None, list_policies: bool) -> None:
    """Make a project in FOLDER (default: here) with a tool, a policy and you as its reviewer.

    What is there already is left as it is.

    \b
    Example:
      agentrt init desk
      agentrt init desk --policy cautious
    """
    if list_policies:
        _list_policies()
        return
    for name, text in _files(folder, policy).items():
        _write(folder / name, text)
    make_reviewer(key_path(), folder / REVIEWERS)
    if policy is None:
        _say_next(folder)
    else:
        _say_next_with_policy(folder)


def _list_policies() -> None:
    rows = [{"name": name, "about": about(name)} for name in ready_policies()]
    Output().rows(rows, columns=("name", "about"), fields=("name", "about"), empty="")


def _files(folder: Path, policy: str | None) -> dict[str, str]:
    """What to write, by path. Raises ProjectError before anything is written."""
    if policy is None:
        return FILES
    if policy not in ready_policies():
        raise ProjectError(
            f"There is no ready policy {policy!r}. There are: {', '.join(ready_policies())}."
        )
    # Beside another policy it would be one bundle with it, which might not be a policy at all.
    if there := sorted(set((folder / "policies").glob("*.yaml")) - {folder / REVIEWERS}):
        raise ProjectError(f"There is a policy already: {there[0]}. Move it away, then try again.")
    others = {name: text for name, text in FILES.items() if not name.startswith("policies/")}
    return others | {f"policies/{name}": text for name, text in policy_files(policy).items()}


def _write(file: Path, text: str) -> None:
    if file.exists():
        narrate(f"left {file} as it is")
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("x", encoding="utf-8") as new:
        new.write(text)
    narrate(f"wrote {file}")


def _say_next(folder: Path) -> None:
    step = "" if folder == Path() else f"  cd {folder}\n"
    narrate("\nnext, without a key:", bold=True)
    narrate(
        f'{step}  agentrt run "Order 4417 was charged twice" --simulated script.yaml\n'
        "  agentrt approve @next          # in another terminal, when the refund is held\n"
        "  agentrt why @last\n"
        "with Claude: set ANTHROPIC_API_KEY and leave --simulated out"
    )


def _say_next_with_policy(folder: Path) -> None:
    step = "" if folder == Path() else f"  cd {folder}\n"
    if mistake := _mistake(folder):
        narrate("\nThis policy is for other tools: put yours in their place.", bold=True)
        narrate(f"{mistake}\n{step}  agentrt policy check           # where it does not fit")
        narrate("what it is for: policies/README.md")
        return
    narrate("\nnext, without a key:", bold=True)
    narrate(
        f"{step}  agentrt policy test            # what it says to the cases in policies/tests\n"
        '  agentrt run "Order 4417 was charged twice" --simulated script.yaml\n'
        "  agentrt why @last\n"
        "what it protects against, and what it does not: policies/README.md"
    )


def _mistake(folder: Path) -> str | None:
    """What keeps the policy from being one for the tools of the project, in short."""
    try:
        _ = Project.load(folder / FILE_NAME).policy
    except AgentrtError as error:
        return str(error).rpartition("\n")[2]
    return None
