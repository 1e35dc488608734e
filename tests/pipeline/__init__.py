"""The delivering half, end to end, on a real Postgres with real receivers.

test_doorbell, test_cursor, test_lease, test_takeover   the rules of bell, cursor and lease, each with its mutant
test_exactness    what eight concurrent writers committed is what arrives
test_wire         headers, body and signatures as receivers see them
test_stop         SIGTERM and SIGINT
test_losses       Postgres restarts, crashes, ends backends
test_backlog      much to do, and endpoints that take nothing
test_poison       odd secrets, URLs, answers and data harm nobody else
test_retries      schedules, dead letters, 410, Retry-After, replay
test_failures     each failure class against a receiver that misbehaves so
test_isolation    slow, paused, edited and tenants' endpoints
"""
