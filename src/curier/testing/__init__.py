"""What tests import, curier's own and those of its users; nothing else in curier imports it.

``seams`` holds the tests that every ``Authenticator`` and ``Authorizer`` passes.
"""
