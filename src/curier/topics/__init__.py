"""Topic Names and Topic Filters, and ways to find one by the other (section 4.7).

``filters`` says what is well formed and what matches; ``table`` finds the subscriptions of a Topic Name,
with ``tree`` for filters of rare shapes; ``retained`` finds the retained messages of a Topic Filter, and
``routes`` remembers what ``table`` has found.
"""
