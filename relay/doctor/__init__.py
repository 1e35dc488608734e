"""rowhook doctor: facts are read by named queries (relay/queries/doctor.sql), verdicts are made of them by pure functions.

READ FIRST: examine.py. The other files hold a subject each: what is asked of it, and what the answers mean.
"""
