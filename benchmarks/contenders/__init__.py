"""The same PUT, built nine ways. Each module has ``create(url)``, which returns a WSGI app.

FastAPI's is an ASGI app. All but the bare one do what the others do: check the API key,
lock the row, refuse unknown keys and bad values, check start <= end and the transition on
the merged state, write, and answer with every attribute.
"""
