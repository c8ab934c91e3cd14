"""The Flask extensions, unbound until ``create_app`` binds them."""

from threading import Lock
from typing import Any

from flask import current_app, g
from flask_jwt_extended import JWTManager
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_migrate import Migrate
from flask_smorest import Api


def _limit_key() -> str:
    """Those who proved an identity have a budget of their own; others share their address's."""
    return g.get("limit_key") or get_remote_address()


def _default_rate() -> str:
    rate: str = current_app.extensions["crm_settings"].rate_limit
    return rate


def sign_in_rate() -> str:
    """How often one address may try to sign in."""
    rate: str = current_app.extensions["crm_settings"].rate_limit_sign_in
    return rate


class LazilyDocumentedApi(Api):  # type: ignore[misc] # flask-smorest has no types
    """Describes its routes when somebody first asks for the document.

    That takes longer than all else of a start, and of most processes nobody ever asks.
    """

    def _init_spec(self, **kwargs: Any) -> None:
        super()._init_spec(**kwargs)
        spec, to_dict, lock = self.spec, self.spec.to_dict, Lock()
        spec.undescribed = []

        def described() -> Any:
            with lock:
                while spec.undescribed:
                    spec.undescribed.pop(0)()
            return to_dict()

        spec.to_dict = described


migrate = Migrate()
jwt = JWTManager()
limiter = Limiter(key_func=_limit_key, default_limits=[_default_rate])
api = LazilyDocumentedApi()
