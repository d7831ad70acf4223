"""A drop for files: send one to keep it; list them, and get one back."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

from xmpp_onion import Attachment, Bot, Trust
from xmpp_onion.bot import Context, direct, has_file, within
from xmpp_onion.errors import FileTooLargeError

DROP = Path(os.environ.get("DROP", "drop"))
LIMIT_BYTES = 100 * 1024 * 1024

bot = Bot("drop", trust=Trust.PINNED)


@bot.message(direct & has_file)
async def keep(ctx: Context, file: Attachment) -> str:
    """Fetch what was sent; how far it is, is one message that is edited."""
    await asyncio.to_thread(DROP.mkdir, mode=0o700, exist_ok=True)
    saved = await file.save(
        DROP, progress=ctx.progress("your file"), limit_bytes=LIMIT_BYTES
    )
    return f"Kept as {saved.name}."


def kept() -> list[str]:
    """Return what is in the drop, a line each."""
    files = sorted(DROP.iterdir()) if DROP.exists() else []
    return [f"{file.name}: {file.stat().st_size} bytes" for file in files]


@bot.command
async def list_() -> str:
    """List what is in the drop."""
    return "\n".join(await asyncio.to_thread(kept)) or "Empty."


@bot.command(when=direct)
async def get(ctx: Context, path: Annotated[Path, within(DROP)]) -> None:
    """Get a file of the drop: !get report.pdf."""
    await ctx.send_file(path, progress=ctx.progress(path.name))


@bot.error(FileTooLargeError)
async def too_large() -> str:
    return f"That is too large: {LIMIT_BYTES} bytes at most."


if __name__ == "__main__":
    bot.run()
