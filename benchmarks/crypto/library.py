"""The same work with python-omemo: its own session manager, and a store in memory."""

from collections import defaultdict

import omemo
from oldmemo import oldmemo
from omemo.session_manager import SessionManager
from omemo.storage import Just, Maybe, Nothing, Storage
from omemo.types import JSONType
from twomemo import twomemo

__all__ = ["BACKENDS", "Memory", "Post", "Work", "manager_class"]

BACKENDS = {oldmemo.NAMESPACE: oldmemo.Oldmemo, twomemo.NAMESPACE: twomemo.Twomemo}


class Memory(Storage):
    """The library's storage in a dict, with its own cache."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, JSONType] = {}

    async def _load(self, key: str) -> Maybe[JSONType]:
        return Just(self.values[key]) if key in self.values else Nothing()

    async def _store(self, key: str, value: JSONType) -> None:
        self.values[key] = value

    async def _delete(self, key: str) -> None:
        self.values.pop(key, None)


class Post:
    """Bundles and device lists that everybody can see."""

    def __init__(self) -> None:
        self.bundles: dict[tuple[str, str, int], omemo.Bundle] = {}
        self.lists: dict[tuple[str, str], set[int]] = defaultdict(set)
        self.answers: list[omemo.Message] = []


def manager_class(post: Post) -> type[SessionManager]:
    class Manager(SessionManager):
        @staticmethod
        async def _upload_bundle(bundle: omemo.Bundle) -> None:
            key = bundle.namespace, bundle.bare_jid, bundle.device_id
            post.bundles[key] = bundle

        @staticmethod
        async def _download_bundle(
            namespace: str, bare_jid: str, device_id: int
        ) -> omemo.Bundle:
            return post.bundles[namespace, bare_jid, device_id]

        @staticmethod
        async def _delete_bundle(namespace: str, device_id: int) -> None:
            pass

        @staticmethod
        async def _upload_device_list(
            namespace: str, device_list: omemo.DeviceList
        ) -> None:
            pass

        @staticmethod
        async def _download_device_list(
            namespace: str, bare_jid: str
        ) -> omemo.DeviceList:
            return dict.fromkeys(post.lists[namespace, bare_jid])

        async def _evaluate_custom_trust_level(
            self,
            device: omemo.DeviceInformation,  # noqa: ARG002 - everybody is trusted
        ) -> omemo.TrustLevel:
            return omemo.TrustLevel.TRUSTED

        async def _make_trust_decision(
            self,
            undecided: frozenset[omemo.DeviceInformation],
            identifier: str | None,
        ) -> None:
            pass

        @staticmethod
        async def _send_message(
            message: omemo.Message,
            bare_jid: str,  # noqa: ARG004 - there is one sender
        ) -> None:
            post.answers.append(message)

    return Manager


class _Device:
    """A device of the library."""

    def __init__(
        self, name: str, work: "Work", manager: SessionManager, device_id: int
    ) -> None:
        self.name = name
        self._work = work
        self._manager = manager
        work.post.lists[work.namespace, name].add(device_id)

    async def learn(self, name: str) -> None:
        await self._manager.refresh_device_list(self._work.namespace, name)

    async def know(self, message: omemo.Message) -> None:
        pass  # a bundle is there when it is asked for

    async def encrypt(self, name: str, text: str) -> omemo.Message:
        messages, errors = await self._manager.encrypt(
            frozenset({name}), {self._work.namespace: text.encode()}
        )
        assert not errors, errors
        return next(iter(messages))

    async def decrypt(self, message: omemo.Message) -> str | None:
        text, _, _ = await self._manager.decrypt(message)
        return text and text.decode()


class Work:
    """The library's devices, and the post between them."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.post = Post()

    async def __aenter__(self) -> "Work":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def device(self, name: str) -> _Device:
        storage = Memory()
        manager = await manager_class(self.post).create(
            [BACKENDS[self.namespace](storage)], storage, name, None, "new"
        )
        await manager.shutdown()
        await manager.after_history_sync()
        info, _ = await manager.get_own_device_information()
        return _Device(name, self, manager, info.device_id)

    async def answer(self, to: _Device) -> None:
        """Let the readers' answers arrive, so that their sessions are confirmed."""
        for answer in self.post.answers:
            await to.decrypt(answer)
        self.post.answers.clear()
