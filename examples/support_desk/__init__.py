"""A support desk whose refunds wait for a person."""
