"""Certificates by ACME [RFC 8555], in a process of its own.

Broker and process share nothing but files. The broker sees to it that there is a certificate to begin with
(``placeholder``) and keeps the process running (``process``); the process puts better ones in its place
(``__main__``, ``keeper``, ``order``), and the broker reads them as it reads all that are renewed.
"""
