"""The admin API: webhooks managed by the people who own them. app.py wires it; calls/ has what can be asked.

How a call is added. It is one function in a file of ``calls/`` (named in that package's ``__init__``), and nothing else:

    @operation("GET", "/webhooks/{id}/deliveries", tag="deliveries", refuses=(404,))
    def list_webhook_deliveries(call: Call, id: str, query: DeliveryQuery) -> Page[Attempt]:
        \"\"\"The last attempts of a webhook, newest first.

        Further paragraphs are its description.
        \"\"\"

- Its name is the operationId. ``query`` is a pydantic model of the query string, ``body`` one of the JSON body; every other
  parameter stands in the path. What it returns is a model: the answer. All three are what is checked and what /openapi.json says.
  Items of a long list that is asked for often may be told without a model of each: ``told`` in walked.py.
- It runs in a thread, in one transaction of ``call.connection``: what it returns is answered after the commit, what it raises
  rolls back. A GET, and with ``in_transaction=False`` what needs several, has a connection in autocommit: one transaction would
  show it nothing that statements by themselves don't, for two more round trips.
- ``call`` (call.py) knows who asks, finds webhooks (404 for another tenant's), writes the audit, sets headers.
- It refuses by raising ``Problem`` (problem.py); a UserMistake of what is behind the command line becomes one.
- An ``async def`` gets a ``StreamCall`` and answers by itself: for what goes on for long.

Authentication, limits, Idempotency-Key, CORS, request ids, logs and the document are around it, and the same for all.
"""
