"""Ready policies, each a folder; the files directly here are the policy of this repository."""
