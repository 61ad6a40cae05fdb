"""What every store in a cloud keeps, whatever its protocol; inherited by the test of each."""

from __future__ import annotations

import sys
import traceback

import pytest

from fuse_dagster.core.errors import ConfigError, MissingExtraError, SecretError, SecretStoreError
from fuse_dagster.secrets.reference import parse
from fuse_dagster.secrets.resolving import Resolver
from fuse_dagster.secrets.store import Store
from fuse_dagster_tests.servers.secret_stores import Stores


class CloudStoreContract:
    """Inherit it; give the fixtures `fake` and `store`, and the class attributes.

    Attributes:
        reference: A valid reference to a secret that the fake holds under `name`.
        name: What the fake calls it.
        version: An option that chooses another version of it; "" for none.
        older: What that version is called.
        forbidden: Statuses that mean that it may not be read.
        busy: Statuses that mean that trying again may help.
        wrong: References of another form.
        module: A module of the client, which may be missing.
    """

    reference: str
    name: str
    version: str = ""
    older: str = "2"
    forbidden: tuple[int, ...] = (403,)
    busy: tuple[int, ...] = (429, 500)
    wrong: tuple[str, ...] = ()
    module: str

    @pytest.fixture
    def resolver(self, store: Store) -> Resolver:
        resolver = Resolver()
        resolver.use(store)
        return resolver

    def test_a_value_is_read_once_and_again_when_it_is_forgotten(self, fake: Stores, resolver: Resolver) -> None:
        fake.values[self.name] = "sword/fish ü"
        assert resolver.resolve(self.reference) == "sword/fish ü"
        fake.values[self.name] = "changed"
        assert resolver.resolve(self.reference) == "sword/fish ü"
        resolver.forget(self.reference)
        assert resolver.resolve(self.reference) == "changed"

    def test_a_field_of_a_json_object_is_read(self, fake: Stores, resolver: Resolver) -> None:
        fake.values[self.name] = '{"user": "me", "key": "swordfish"}'
        assert resolver.resolve(f"{self.reference}#key") == "swordfish"

    def test_another_version_is_read(self, fake: Stores, resolver: Resolver) -> None:
        fake.values |= {self.name: "new", f"{self.name}@{self.older}": "old"}
        if self.version:
            assert resolver.resolve(f"{self.reference}?{self.version}={self.older}") == "old"
        with pytest.raises(ConfigError, match="does not know"):
            resolver.resolve(f"{self.reference}?{self.version}x=2")

    def test_an_absent_secret_is_said(self, fake: Stores, resolver: Resolver) -> None:
        self._fails(resolver, SecretError, "has no ")
        assert fake.asked

    def test_a_forbidden_secret_is_said(self, fake: Stores, resolver: Resolver) -> None:
        fake.values[self.name] = "swordfish"
        for fake.status in self.forbidden:
            self._fails(resolver, SecretError, "refuses it")

    def test_a_busy_store_is_an_error_to_try_again(self, fake: Stores, resolver: Resolver) -> None:
        fake.values[self.name] = "swordfish"
        for fake.status in self.busy:
            self._fails(resolver, SecretStoreError, "does not answer")

    def test_a_reference_of_another_form_is_refused_without_asking(self, fake: Stores, resolver: Resolver) -> None:
        for text in self.wrong:
            with pytest.raises(ConfigError, match=r"is not how this store's references look. Valid: "):
                resolver.resolve(text)
        assert not fake.asked

    def test_without_its_client_the_install_line_is_said(
        self, resolver: Resolver, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, self.module, None)
        with pytest.raises(MissingExtraError, match=rf'pip install "fuse-dagster\[{store.extra}\]"'):
            resolver.resolve(self.reference)

    def _fails(self, resolver: Resolver, kind: type[Exception], message: str) -> None:
        with pytest.raises(kind, match=f"`{self.reference}` can't be resolved: .*{message}") as caught:
            resolver.resolve(self.reference)
        text = "".join(traceback.format_exception(caught.value))
        # What a store says is not quoted: it may say too much.
        assert "swordfish" not in text
        assert "canary" not in text
        assert parse(self.reference).scheme in text
