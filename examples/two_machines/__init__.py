"""Two machines that carry runs on over one PostgreSQL, and a reviewer on a third."""
