"""The client over TLS: with a token, with a client certificate, and with ones that prove nothing."""

from pathlib import Path

import pytest
import running_service
import trustme
from running_service import TOKEN

import sealane

ACCESS = """\
tls: { certificate: { file: server.pem }, key: { file: server.key }, client_ca: { file: clients.pem } }
callers:
  - { name: tests, token: { env: CALLER_TOKEN }, policy: unrestricted }
  - { name: ingest, certificate: { san: [ingest.contoso.com] }, policy: unrestricted }
"""


@pytest.fixture
def servers():
    return trustme.CA()


@pytest.fixture
def clients():
    return trustme.CA()


@pytest.fixture
def secured(tmp_path: Path, servers: trustme.CA, clients: trustme.CA):
    server = servers.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(tmp_path / "server.key")
    server.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    clients.cert_pem.write_to_path(tmp_path / "clients.pem")
    with running_service.running(tmp_path, ACCESS) as service:
        yield service


def shows(certificate: trustme.LeafCert, servers: trustme.CA) -> sealane.Tls:
    return sealane.Tls(
        root_certificates=servers.cert_pem.bytes(),
        private_key=certificate.private_key_pem.bytes(),
        certificate_chain=certificate.cert_chain_pems[0].bytes(),
    )


def test_a_token_travels_by_tls(secured, servers):
    with sealane.Client(secured.address, token=TOKEN, tls=sealane.Tls(servers.cert_pem.bytes())) as client:
        assert sealane.text_of(client.complete("gpt-4o", "hi"))
        with client.complete_stream("gpt-4o", "hi") as stream:
            assert "".join(stream.text_chunks()) != ""


def test_a_certificate_is_who_we_are(secured, servers, clients):
    with sealane.Client(secured.address, tls=shows(clients.issue_cert("ingest.contoso.com"), servers)) as client:
        assert sealane.text_of(client.complete("gpt-4o", "hi"))


async def test_a_certificate_is_who_we_are_with_asyncio(secured, servers, clients):
    tls = shows(clients.issue_cert("ingest.contoso.com"), servers)
    async with sealane.AsyncClient(secured.address, tls=tls) as client:
        assert sealane.text_of(await client.complete("gpt-4o", "hi"))


def test_a_certificate_that_proves_nothing_is_refused_with_the_reason(secured, servers, clients):
    strangers = trustme.CA()
    for certificate, cause in [
        (strangers.issue_cert("ingest.contoso.com"), "unknown_authority"),
        (clients.issue_cert("other.contoso.com"), "unknown_name"),
    ]:
        with sealane.Client(secured.address, tls=shows(certificate, servers)) as client:
            with pytest.raises(sealane.UnauthenticatedError) as caught:
                client.complete("gpt-4o", "hi")
        assert (caught.value.reason, caught.value.metadata["cause"]) == ("INVALID_CERTIFICATE", cause)


def test_a_service_that_is_not_trusted_gets_no_token(secured, clients):
    with sealane.Client(secured.address, token=TOKEN, tls=sealane.Tls(clients.cert_pem.bytes())) as client:
        with pytest.raises(sealane.UnavailableError):
            client.complete("gpt-4o", "hi", timeout=10)
