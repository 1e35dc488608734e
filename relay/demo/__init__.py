"""`rowhook demo`: the whole thing on a Postgres of its own, and a check of what came of it."""
