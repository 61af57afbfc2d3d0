"""GET /api/v1/models/{name} as a careful Python service would have it: a key looked up by its SHA-256 and remembered for
five seconds, a limit by slowapi, the statement of the registry by asyncpg behind a pybreaker circuit, and the same JSON."""

import asyncio
import hashlib
import json
import os
import time
from contextlib import asynccontextmanager

import asyncpg
import pybreaker
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address

STATEMENT = """SELECT m.id, m.name, m.description, m.tags, m.owner, m.latest_version, m.revision, m.created_at, m.updated_at,
  coalesce((SELECT jsonb_object_agg(a.alias, a.version) FROM aliases a WHERE a.model_id = m.id), '{}') AS aliases
  FROM models m WHERE m.name = $1 AND m.state = 'active'"""

limiter = Limiter(key_func=get_remote_address)
breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=30)
known: dict[bytes, float] = {}


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=2, max_size=10) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)
app.state.limiter = limiter


@app.exception_handler(RateLimitExceeded)
async def limited(request: Request, error: RateLimitExceeded):
    return JSONResponse({"code": "rate_limited"}, status_code=429)


async def authenticate(request: Request) -> None:
    secret = request.headers.get("authorization", "").removeprefix("Bearer ")
    digest = hashlib.sha256(secret.encode()).digest()
    if known.get(digest, 0) > time.monotonic():
        return
    if await request.app.state.pool.fetchrow("SELECT id FROM api_keys WHERE digest = $1", digest) is None:
        raise HTTPException(401)
    known[digest] = time.monotonic() + 5


async def find(pool: asyncpg.Pool, name: str):
    # pybreaker's own call_async is for Tornado: this is what it does, for asyncio
    with breaker.calling():
        return await pool.fetchrow(STATEMENT, name)


@app.get("/api/v1/models/{name}")
@limiter.limit("1000000000/minute")
async def get_model(request: Request, name: str):
    await authenticate(request)
    try:
        row = await find(request.app.state.pool, name)
    except pybreaker.CircuitBreakerError:
        raise HTTPException(503)
    if row is None:
        raise HTTPException(404)
    return JSONResponse(
        {
            "id": str(row["id"]),
            "name": row["name"],
            "description": row["description"],
            "tags": row["tags"],
            "owner": row["owner"],
            "aliases": json.loads(row["aliases"]),
            "latestVersion": row["latest_version"],
            "createdAt": row["created_at"].isoformat(),
            "updatedAt": row["updated_at"].isoformat(),
        },
        headers={"etag": f'"{row["revision"]}"'},
    )


async def main() -> None:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    print(f"Listening on http://127.0.0.1:{port}", flush=True)
    await serving


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())
