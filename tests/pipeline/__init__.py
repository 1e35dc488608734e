"""The delivering half, end to end, on a real Postgres with real receivers.

test_doorbell, test_cursor, test_lease, test_takeover   the rules of bell, cursor and lease, each with its mutant
test_exactness    what eight concurrent writers committed is what arrives            (others than the bell's author are on these:)
test_wire         headers, body and signatures as receivers see them
test_stop         SIGTERM and SIGINT
test_losses       Postgres restarts, crashes, ends backends
test_retries      schedules, dead letters, 410, Retry-After, replay
test_failures     each failure class against a receiver that misbehaves so
test_isolation    slow, paused, edited and tenants' endpoints
"""
