"""Receipts: what became of one call, provable on another machine with public keys alone."""

from agentrt.receipts.check import Checked, Signers, check_receipt
from agentrt.receipts.making import make_receipt

__all__ = ["Checked", "Signers", "check_receipt", "make_receipt"]
