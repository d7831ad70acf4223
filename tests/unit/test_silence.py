import asyncio

from xmpp_onion.silence import Silence


async def test_what_happens_in_a_silence_is_told_when_it_is_over() -> None:
    counts = [3, 2, 0]
    told: list[int] = []
    over = asyncio.Event()

    async def tell() -> bool:
        told.append(counts[len(told)])
        if not told[-1]:
            over.set()
        return bool(told[-1])

    silence = Silence(tell, first=0.001)
    assert not silence.is_kept
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(silence.run())
        await asyncio.sleep(0.02)
        assert told == []  # nothing was begun
        silence.begin()
        assert silence.is_kept
        async with asyncio.timeout(60):
            await over.wait()
            while silence.is_kept:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
        running.cancel()

    assert told == counts
