"""Webhooks, checked by the library that their receivers would use."""
import json

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from harness.deployment import wait_until
from harness.receiver import Receiver


def test_the_library_of_standard_webhooks_accepts_the_signatures(stopped):
    stopped.init()
    stopped.start("--webhook-ca-file", str(stopped.data / "ca.pem"))
    receiver = Receiver(stopped)
    secret = stopped.api.post("/webhooks", {"url": receiver.url, "events": ["queued", "aborted"]})["secret"]
    job = stopped.submit(name="Müller & Söhne")
    stopped.api.post(f"/jobs/{job}/abort")
    wait_until(lambda: receiver.kinds(job) == ["queued", "aborted"], what="the events")
    for headers, body, _ in receiver.got:
        assert Webhook(secret).verify(body, headers) == json.loads(body)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body.replace(b"queued", b"failed").replace(b"aborted", b"failed"), headers)
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_" + "A" * 43 + "=").verify(body, headers)
    receiver.close()
