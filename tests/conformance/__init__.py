"""The published SDKs, unchanged, against a running server.

sdks.py       which SDKs, and how each is installed and run
scenarios.py  what they are made to do, and what must come of it
answers.py    what they make of each answer that a server may give
road.py       the way to the server: it watches, and can be made to fail
server.py     the server, and what it stored
page.py       docs/conformance.md, written from what was seen
python/ node/ browser/   what drives the SDKs of a language
"""
