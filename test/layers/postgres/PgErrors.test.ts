/** Transactions that PostgreSQL ends for another's sake. */
import { assert, describe, layer } from "@effect/vitest"
import { Cause, DateTime, Deferred, Effect, Exit } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { ApiKey, ApiKeyId } from "../../../src/domain/access/ApiKey.ts"
import { DependencyUnavailable } from "../../../src/domain/DependencyUnavailable.ts"
import { ApiKeyRepository } from "../../../src/services/ApiKeyRepository.ts"
import { Transaction } from "../../../src/services/Transaction.ts"
import * as Registry from "../../support/Registry.ts"

const givenWay = new DependencyUnavailable({ dependency: "postgres", retryAfterSeconds: 1 })

/** A key in the database. */
const newKey = Effect.gen(function*() {
  const repository = yield* ApiKeyRepository
  const random = yield* SecureRandom.SecureRandom
  const id = ApiKeyId.make(yield* random.uuidV7())
  const createdAt = yield* DateTime.now
  const key = new ApiKey({
    id,
    name: "a key",
    scopes: ["inference"],
    plan: null,
    createdAt,
    expiresAt: null,
    revokedAt: null
  })
  yield* repository.insert({ key, digest: yield* random.randomBytes(32) })
  return id
})

const revoke = (id: ApiKeyId) =>
  Effect.gen(function*() {
    const repository = yield* ApiKeyRepository
    return yield* repository.revoke(id, yield* DateTime.now)
  })

describe("PgErrors", () => {
  layer(Registry.layer, { excludeTestServices: true })((it) => {
    it.effect("of two transactions in a deadlock one is told to try again, and can; the other is committed", () =>
      Effect.gen(function*() {
        const repository = yield* ApiKeyRepository
        const transaction = yield* Transaction
        const keys = [yield* newKey, yield* newKey] as const
        const [first, second] = keys
        const held = [yield* Deferred.make<void>(), yield* Deferred.make<void>()] as const

        const both = (
          one: ApiKeyId,
          other: ApiKeyId,
          mine: Deferred.Deferred<void>,
          others: Deferred.Deferred<void>
        ) =>
          transaction.run(Effect.gen(function*() {
            yield* revoke(one)
            yield* Deferred.succeed(mine, undefined)
            yield* Deferred.await(others)
            yield* revoke(other)
          }))
        const exits = yield* Effect.all([
          Effect.exit(both(first, second, held[0], held[1])),
          Effect.exit(both(second, first, held[1], held[0]))
        ], { concurrency: 2 })

        assert.lengthOf(exits.filter(Exit.isSuccess), 1)
        assert.deepStrictEqual(exits.filter(Exit.isFailure).map(({ cause }) => cause), [Cause.fail(givenWay)])
        assert.isTrue(yield* transaction.run(Effect.andThen(revoke(first), revoke(second))))
        for (const id of keys) assert.isNotNull((yield* repository.find(id))?.revokedAt)
      }))

    it.effect("one that can't be serialized is told to try again, and nothing of it is kept", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const repository = yield* ApiKeyRepository
        const transaction = yield* Transaction
        const [contested, own] = [yield* newKey, yield* newKey]
        const isRead = yield* Deferred.make<void>()
        const isChanged = yield* Deferred.make<void>()

        const late = transaction.run(Effect.gen(function*() {
          yield* sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`
          yield* revoke(own)
          yield* Deferred.succeed(isRead, undefined)
          yield* Deferred.await(isChanged)
          yield* revoke(contested)
        }))
        const early = Deferred.await(isRead).pipe(
          Effect.andThen(revoke(contested)),
          Effect.andThen(Deferred.succeed(isChanged, undefined))
        )
        const [exit] = yield* Effect.all([Effect.exit(late), early], { concurrency: 2 })

        assert.deepStrictEqual(exit, Exit.fail(givenWay))
        assert.isNull((yield* repository.find(own))?.revokedAt)
      }))
  })
})
