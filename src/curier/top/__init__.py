"""``curier top``: a broker that runs, watched in the terminal, by the API of its window.

``watching`` asks, ``wording`` says numbers, ``overview`` and ``lists`` say what is shown. ``app`` and
``listing`` show it; they alone know Textual.
"""
