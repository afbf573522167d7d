"""The requests of providers: their own libraries and Helios' authenticators admit them."""

import itertools
from datetime import UTC, datetime

import pytest
import stripe

from helios.auth.hmac_signature import HmacSignature
from helios.errors import ConfigurationError
from helios.model.events import Delivery
from helios.normalise import normalise
from helios.sources.declaration import load, shipped_scheme
from local.stack.config import Config
from local.stack.providers import environment, names, with_sources
from scripts.simulator.providers import PROVIDERS, SECRETS, secret_of, secrets
from scripts.simulator.shop import PROVIDER_LEGS, SOURCES
from tests.simulator.support import planner

SECRET = "whsec_a_secret_of_the_simulator"


def emissions(source: str):
    plan = planner(sources=SOURCES, error_rate=0)
    orders = (plan.order(float(number), horizon=1000)[0] for number in itertools.count())
    return (emission for order in orders for emission in order if emission.source == source)


@pytest.mark.parametrize("source", PROVIDERS)
def test_an_event_of_a_provider_is_signed_and_has_the_parts_of_its_preset(source, tmp_path):
    config = with_sources(Config(state=str(tmp_path)), 5)
    declaration = load(config.sources_file).declared[source]
    emission = next(emissions(source))
    headers, body = PROVIDERS[source].request(emission, SECRET)

    authenticator = HmacSignature(shipped_scheme(source), [SECRET], variable=SECRETS)
    assert authenticator.check(headers, body) == body
    event = normalise(
        Delivery(channel="webhook", body=body, headers=headers, received_at=datetime.now(UTC), declaration=declaration)
    )
    assert (event.id, event.type, event.order_id) == (emission.id, PROVIDER_LEGS[source], emission.order_id)
    assert event.customer_id is not None


def test_stripes_library_admits_the_events_of_the_simulator():
    headers, body = PROVIDERS["stripe"].request(next(emissions("stripe")), SECRET)

    event = stripe.Webhook.construct_event(body, headers["stripe-signature"], SECRET)
    assert event.type == "payment_intent.succeeded"


def test_an_order_of_five_sources_has_a_leg_of_each():
    legs, _ = planner(sources=SOURCES, error_rate=0).order(0.0, horizon=100)

    assert [leg.source for leg in legs] == list(SOURCES)


def test_three_sources_need_no_file(tmp_path):
    config = Config(state=str(tmp_path))

    assert with_sources(config, 3) == config
    assert environment(config) == {}
    assert names(3) == ["aws", "gcp", "azure"]


def test_the_stack_declares_a_source_and_gives_its_secret_to_helios_and_the_simulator(tmp_path):
    config = with_sources(Config(state=str(tmp_path)), 4)

    settings = environment(config)
    assert settings["HELIOS_SOURCES_FILE"] == config.sources_file
    assert secrets(settings) == {"stripe": config.credentials.stripe}
    with pytest.raises(ConfigurationError, match="has no shopify=SECRET"):
        secret_of("shopify", secrets(settings))
