"""A document that gives orders, and a policy that does not let it choose who gets mail."""
