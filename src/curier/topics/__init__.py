"""Topic Names and Topic Filters, and three ways to find one by the other (section 4.7).

``filters`` says what is well formed and what matches; ``tree`` finds the subscriptions of a Topic Name,
``retained`` the retained messages of a Topic Filter, and ``routes`` remembers what ``tree`` has found.
"""
