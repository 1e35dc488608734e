"""The torture test: writers, relays and receivers under a nemesis; then twelve invariants from independent records.

    python -m tests.torture --seconds 600 --seed 7

run.py is the one to read first. Each file has one subject:

    stage, tables    a Postgres of its own, what is captured in it, the slot that says what committed
    fleet            relays as real processes, each with a proxy of its own on the way to Postgres
    receivers, moods a process that verifies, keeps a journal, and answers as badly as it is told; hooks steers it
    writes, writers  writers of every kind
    schedule         pure: a seed to faults with their times; nemesis carries them out, each by a function in faults_*.py
    sampler          who holds leases, five times a second
    records          what all of these leave behind; wal, journal and evidence read it
    invariants/      pure: records to violations
    report           the table, the JSON, the figures in docs/reliability.md
"""
