"""One certificate, from the account to the file [RFC 8555 section 7], by HTTP-01.

Account, key of the certificate and order are on disk before they are used, so that whoever is interrupted
goes on with the same: authorities count accounts, orders and certificates.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from acme import challenges, errors, messages
from acme.client import ClientNetwork, ClientV2
from josepy.interfaces import JSONDeSerializable
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from requests import Response

from curier.acme import files
from curier.acme.answers import Answers
from curier.acme.certificate import kept_key, key_pem, request_pem, why_unfit
from curier.acme.plan import Plan
from curier.acme.words import NotIssued

REQUEST_SECONDS: Final = 30
PROOF_SECONDS: Final = 120
ISSUE_SECONDS: Final = 180
MOST_RETRY_SECONDS: Final = 7 * 86_400.0

_GONE: Final = frozenset((messages.STATUS_INVALID, messages.STATUS_REVOKED))


class Order:
    """Gets one certificate. ``retry_after`` is how many seconds the authority wants to be left alone."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.time) -> None:
        self.retry_after = 0.0
        self._plan: Final = plan
        self._clock: Final = clock
        self._account_file: Final = plan.authority / "account.json"
        self._order_file: Final = plan.folder / "order.json"
        self._key_file: Final = plan.folder / "next-key.pem"
        self._account_key: Final = JWKEC(key=kept_key(plan.authority / "account-key.pem"))
        self._net: Final = ClientNetwork(
            self._account_key, alg=ES256, user_agent="curier", timeout=REQUEST_SECONDS
        )
        self._net.session.hooks["response"].append(self._on_response)

    def obtain(self) -> None:
        """Get the certificate and put it in its file; it takes minutes. What is there stays till then.

        Raises ``NotIssued``, ``OSError``, and what ``acme``, ``josepy`` and ``requests`` raise: see
        ``words.explain``.
        """
        try:
            self._obtain()
        except messages.Error as error:
            if error.code == "accountDoesNotExist":  # the next try makes one
                self._account_file.unlink(missing_ok=True)
            raise
        finally:
            self._net.session.close()

    def _obtain(self) -> None:
        plan = self._plan
        client = ClientV2(ClientV2.get_directory(plan.directory, self._net), self._net)
        self._sign_in(client)
        key = kept_key(self._key_file)
        order = self._order(client, request_pem(key, plan.names))
        if order.body.status == messages.STATUS_PENDING:
            self._prove(client, order)
        deadline = datetime.now() + timedelta(seconds=ISSUE_SECONDS)
        if order.body.status in (messages.STATUS_PENDING, messages.STATUS_READY):
            order = client.finalize_order(order, deadline)
        else:
            order = client.poll_finalization(order, deadline)
        chain = order.fullchain_pem.encode()
        if why := why_unfit(chain, key, plan.names, self._clock()):
            self._forget()
            raise NotIssued(f"the certificate that came {why}")
        files.write(plan.certificate, chain.rstrip() + b"\n" + key_pem(key))
        self._forget()

    def _forget(self) -> None:
        """The order has come to its end, and its key is in the certificate's file, or of no use."""
        self._order_file.unlink(missing_ok=True)
        self._key_file.unlink(missing_ok=True)

    def _sign_in(self, client: ClientV2) -> None:
        """Use our account, which is made where there is none; the key finds one that was not kept."""
        plan = self._plan
        if client.external_account_required():
            raise NotIssued("it wants accounts that were made elsewhere (EAB), which curier does not know")
        kept = files.read_json(self._account_file)
        new = messages.NewRegistration.from_data(email=plan.mail, terms_of_service_agreed=True)
        uri = kept.get("uri")
        account = messages.RegistrationResource(body=messages.Registration(), uri=uri)
        if isinstance(uri, str) and kept.get("mail") == plan.mail:
            self._net.account = account
            return
        try:
            account = client.new_account(new)
        except errors.ConflictError as error:
            found = messages.RegistrationResource(body=messages.Registration(), uri=error.location)
            self._net.account = found
            self._post(client, error.location, messages.UpdateRegistration.from_data(email=plan.mail))
            account = found
        files.write_json(self._account_file, {"uri": account.uri, "mail": plan.mail})

    def _order(self, client: ClientV2, request: bytes) -> messages.OrderResource:
        """The order that was begun, if it still can become a certificate, or a new one."""
        uri = files.read_json(self._order_file)
        if isinstance(uri.get("uri"), str) and uri.get("names") == [*self._plan.names]:
            with suppress(messages.Error, errors.ClientError):  # it is not known there any more
                body = messages.Order.from_json(self._post(client, uri["uri"], None).json())
                if body.status not in _GONE:
                    return messages.OrderResource(body=body, uri=uri["uri"], csr_pem=request)
            self.retry_after = 0.0
        order = client.new_order(request)
        files.write_json(self._order_file, {"uri": order.uri, "names": [*self._plan.names]})
        return order

    def _prove(self, client: ClientV2, order: messages.OrderResource) -> None:
        """Show that all names lead here."""
        with Answers(*self._plan.http_address) as answers:
            for uri in order.body.authorizations:
                found = messages.Authorization.from_json(self._post(client, uri, None).json())
                if found.status != messages.STATUS_PENDING:
                    continue  # proven before; what has failed is told below
                offered = [one for one in found.challenges if isinstance(one.chall, challenges.HTTP01)]
                if not offered:
                    raise NotIssued(f"it offers no HTTP-01 for {found.identifier.value}")
                response, answer = offered[0].response_and_validation(self._account_key)
                answers.known[offered[0].chall.encode("token")] = answer
                if offered[0].status == messages.STATUS_PENDING:
                    self._post(client, offered[0].uri, response)
            try:
                order = client.poll_authorizations(order, datetime.now() + timedelta(seconds=PROOF_SECONDS))
            except errors.ValidationError:
                self._order_file.unlink(missing_ok=True)  # it is lost [RFC 8555 section 7.1.6]
                raise
        for one in order.authorizations:
            if one.body.status != messages.STATUS_VALID:
                self._order_file.unlink(missing_ok=True)
                raise NotIssued(f"the authorization of {one.body.identifier.value} is {one.body.status.name}")

    def _post(self, client: ClientV2, uri: str, what: JSONDeSerializable | None) -> Response:
        """Send ``what``, signed; None is a GET that is signed [RFC 8555 section 6.3]."""
        return self._net.post(uri, what, new_nonce_url=client.directory["newNonce"])

    def _on_response(self, response: Response, **_: object) -> None:
        """Note when an authority that refuses wants to be asked again [RFC 8555 section 6.6]."""
        if not response.ok and "Retry-After" in response.headers:
            until = ClientV2.retry_after(response, 0)
            seconds = (until - datetime.now()).total_seconds()
            self.retry_after = min(max(0.0, seconds), MOST_RETRY_SECONDS)
