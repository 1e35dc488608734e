"""The peers' side of the bench `peers`: one program for each, and what installs them.

Every program knows two commands. `prepare DSN FILE` makes its schema and enqueues a job for each line of the file, a JSON
body; `work DSN URL` posts each job's body to the URL, without signature or record, until SIGTERM.
"""
