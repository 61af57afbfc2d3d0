/** What every journal of sagas keeps. */
import { assert, layer as shareLayer } from "@effect/vitest"
import { Context, Effect, Exit, Latch, Option, Random } from "effect"
import type { Layer } from "effect"
import { Journal } from "../../../src/saga/Journal.ts"
import type { NewSaga, SagaRecord, Write } from "../../../src/saga/Journal.ts"
import { LeaseLost } from "../../../src/saga/SagaError.ts"
import type { JournalEntry, SagaEvent } from "../../../src/saga/SagaEvent.ts"
import { started } from "../../../src/saga/SagaStatus.ts"
import type { SagaStatus } from "../../../src/saga/SagaStatus.ts"

/** Lets an owner appear to have been silent for longer than its lease, without its knowledge. */
export class Leases extends Context.Service<Leases, {
  readonly end: (owner: string) => Effect.Effect<void>
}>()("maas/test/contract/saga/JournalContract/Leases") {}

const unique = (what: string) => Effect.map(Random.nextInt, (n) => `${what}${n}`)

const entry = (event: SagaEvent, epoch = 1): JournalEntry => ({ at: 1_700_000_000_123, epoch, event })
const startOf = (step: string, epoch = 1) => entry({ _tag: "StepStarted", step, kind: "compensatable" }, epoch)

/** A saga of a name of its own, so that tests beside this one neither see nor claim it. */
const newSaga = Effect.fnUntraced(function*(more: Partial<NewSaga> = {}) {
  const saga: NewSaga = {
    id: yield* unique("saga "),
    name: yield* unique("name "),
    version: 1,
    input: { a: 1 },
    startedAt: 1_700_000_000_000,
    traceparent: undefined,
    owner: undefined,
    ...more
  }
  return saga
})

const join = Effect.flatMap(Journal, (journal) => journal.join)

/** A saga that `owner` has begun with one entry. */
const begun = Effect.fnUntraced(function*(owner: string, more: Partial<NewSaga> = {}) {
  const journal = yield* Journal
  const saga = yield* newSaga({ owner, ...more })
  const existing = yield* journal.create(saga, { entries: [startOf("a")], status: started, isLast: false })
  assert.deepStrictEqual(existing, Option.none())
  return saga
})

const waiting = Effect.fnUntraced(function*(more: Partial<NewSaga> = {}) {
  const journal = yield* Journal
  const saga = yield* newSaga(more)
  yield* journal.create(saga, { entries: [], status: started, isLast: true })
  return saga
})

const find = Effect.fnUntraced(function*(sagaId: string) {
  const journal = yield* Journal
  return Option.getOrThrow(yield* journal.find(sagaId))
})

const write = (sagaId: string, more: Partial<Write> = {}): Write => ({
  sagaId,
  epoch: 1,
  position: 1,
  entries: [],
  status: started,
  isLast: false,
  ...more
})

const parkedStatus: SagaStatus = {
  state: "parked",
  direction: "backward",
  firstError: { step: "a", error: { tag: "NoRoom", message: "full \u0000", value: { wanted: 1 } } },
  parking: { reason: "compensation-failed", step: "a/b", error: { tag: "E", message: "" } }
}

const stored = ({ epoch, id, isCancelRequested, recoveries }: SagaRecord) => ({
  id,
  epoch,
  recoveries,
  isCancelRequested
})

/** The one saga that is expected. */
const only = (records: ReadonlyArray<SagaRecord>): SagaRecord => {
  assert.strictEqual(records.length, 1)
  return records[0] ?? assert.fail("none")
}

const isLost = (sagaId: string) => Exit.fail(new LeaseLost({ sagaId }))

const isOpen = (latch: Latch.Latch) => Effect.map(Effect.timeoutOption(latch.await, 0), Option.isSome)

export const journalContract = <E>(
  name: string,
  adapter: Layer.Layer<Journal | Leases, E>,
  options: {
    /** Whether the tests run on virtual time. */
    readonly isVirtual: boolean
  }
) =>
  shareLayer(adapter, { excludeTestServices: !options.isVirtual, timeout: "2 minutes" })(name, (it) => {
    it.effect("a new saga is found as it was written", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const saga = yield* newSaga({
          owner: yield* journal.join,
          version: 7,
          input: { "": [null, -1.5e300, "ключ 🔑 \u0000 \ud800", { "__proto__x": true }] },
          traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        })
        const entries = [
          entry({ _tag: "StepStarted", step: "a\u0000/'; --", kind: "pivot" }),
          entry({ _tag: "StepCompleted", step: "a", kind: "pivot", output: { z: 1, a: [0.1, "\u0000"] } })
        ]
        const status: SagaStatus = { ...started, direction: "committed", firstError: parkedStatus.firstError }
        assert.deepStrictEqual(yield* journal.find(saga.id), Option.none())
        assert.deepStrictEqual(yield* journal.create(saga, { entries, status, isLast: false }), Option.none())
        const { owner: _, ...rest } = saga
        const found: unknown = yield* find(saga.id)
        const expected: SagaRecord = {
          ...rest,
          status,
          entries,
          endedAt: undefined,
          epoch: 1,
          recoveries: 0,
          isCancelRequested: false
        }
        for (const [key, value] of Object.entries(expected)) assert.deepNestedPropertyVal(found, key, value)
      }))

    it.effect("an id belongs to the first saga that has it, whoever comes at the same time", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const owner = yield* journal.join
        const saga = yield* newSaga({ owner })
        // Others before it, so that those of the one id come together
        const all = yield* Effect.forEach(
          Array.from({ length: 40 }, (_, n) => n - 20),
          (n) =>
            journal.create({ ...saga, id: n < 0 ? `${saga.id} ${n}` : saga.id, input: n }, {
              entries: [startOf(`${n}`)],
              status: started,
              isLast: false
            }),
          { concurrency: "unbounded" }
        )
        const exits = all.slice(20)
        assert.strictEqual(exits.filter(Option.isNone).length, 1)
        const winner = exits.findIndex(Option.isNone)
        const { entries, input } = yield* find(saga.id)
        assert.strictEqual(input, winner)
        assert.deepStrictEqual(entries, [startOf(`${winner}`)])
        for (const existing of exits) {
          if (Option.isSome(existing)) assert.strictEqual(existing.value.input, winner)
        }
      }))

    it.effect("ids are any text", () =>
      Effect.gen(function*() {
        const owner = yield* join
        for (const id of ["constructor", "__proto__", "' OR 1=1 --", "ключ/🔑", "x".repeat(512), " "]) {
          const saga = yield* begun(owner, { id: id.length === 512 ? id : `${id}${yield* unique("")}` })
          assert.strictEqual((yield* find(saga.id)).id, saga.id)
        }
        const saga = yield* begun(owner, { id: "constructor" })
        assert.deepStrictEqual((yield* find(saga.id)).entries, [startOf("a")])
      }))

    it.effect("entries stand in the order in which they were written", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const { id } = yield* begun(yield* journal.join)
        yield* journal.append(write(id, { position: 1, entries: [startOf("b"), startOf("c")] }))
        yield* journal.append(write(id, { position: 3, entries: [startOf("d")] }))
        assert.deepStrictEqual((yield* find(id)).entries, ["a", "b", "c", "d"].map((step) => startOf(step)))
      }))

    it.effect("a write that is repeated is made once, and does not bring back an earlier status", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const { id } = yield* begun(yield* journal.join)
        const first = write(id, { position: 1, entries: [startOf("b"), startOf("c")] })
        const second = write(id, {
          position: 3,
          entries: [startOf("d")],
          status: { ...started, state: "compensating", direction: "backward" }
        })
        for (const one of [first, first, second, first, second]) yield* journal.append(one)
        const { entries, status } = yield* find(id)
        assert.deepStrictEqual(entries, ["a", "b", "c", "d"].map((step) => startOf(step)))
        assert.deepStrictEqual(status, second.status)
      }))

    it.effect("law 52: who writes with another epoch than the saga's is refused", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const { id, name } = yield* begun(yield* journal.join)
        const before = yield* find(id)
        for (const epoch of [0, 2]) {
          const late = write(id, { epoch, entries: [startOf("b")], isLast: true })
          assert.deepStrictEqual(yield* Effect.exit(journal.append(late)), isLost(id))
          assert.deepStrictEqual(yield* Effect.exit(journal.transact(Effect.void, () => late)), isLost(id))
          assert.isFalse(yield* journal.holds(id, epoch))
        }
        assert.deepStrictEqual(yield* find(id), before)
        assert.isTrue(yield* journal.holds(id, 1))
        const other = yield* journal.join
        assert.deepStrictEqual(yield* journal.claim(other, [{ name, version: 1 }], 10), [])
        assert.deepStrictEqual(yield* Effect.exit(journal.append(write("no saga"))), isLost("no saga"))
        assert.isFalse(yield* journal.holds("no saga", 1))
      }))

    it.effect("a saga that has ended says when, and nobody takes it over", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const owner = yield* journal.join
        for (const state of ["completed", "compensated", "parked"] as const) {
          const { id, name } = yield* begun(owner)
          const status: SagaStatus = { ...parkedStatus, state }
          yield* journal.append(write(id, { entries: [startOf("b")], status, isLast: true }))
          const record = yield* find(id)
          assert.deepStrictEqual(record.status, status)
          assert.strictEqual(record.endedAt === undefined, state === "parked")
          assert.deepStrictEqual(yield* journal.claim(yield* journal.join, [{ name, version: 1 }], 10), [])
        }
      }))

    it.effect("a transaction's result and the write that belongs to it come together", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const { id } = yield* begun(yield* journal.join)
        const writeOf = (step: string) => write(id, { entries: [startOf(step)] })
        assert.deepStrictEqual(yield* journal.transact(Effect.succeed("b"), writeOf), Exit.succeed("b"))
        assert.deepStrictEqual(yield* journal.transact(Effect.fail("no"), writeOf), Exit.fail("no"))
        assert.deepStrictEqual(yield* journal.transact(Effect.die("broken"), writeOf), Exit.die("broken"))
        assert.isTrue(Exit.hasInterrupts(yield* journal.transact(Effect.interrupt, writeOf)))
        assert.deepStrictEqual((yield* find(id)).entries, [startOf("a"), startOf("b")])
      }))

    it.effect("a saga is claimed by who can run it, when nobody has it", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const owner = yield* journal.join
        const { id, name } = yield* waiting({ version: 2 })
        const other = yield* waiting()
        const claim = (more: number) => journal.claim(owner, [{ name, version: 2 }, { name, version: more }], 10)
        assert.deepStrictEqual(yield* journal.claim(owner, [], 10), [])
        assert.deepStrictEqual(yield* journal.claim(owner, [{ name, version: 1 }], 10), [])
        assert.deepStrictEqual(yield* journal.claim(owner, [{ name: other.name, version: 2 }], 10), [])
        const claimed = only(yield* claim(1))
        assert.deepStrictEqual(claimed, yield* find(id))
        assert.deepStrictEqual(claimed.entries, [])
        assert.strictEqual(claimed.recoveries, 0)
        assert.isFalse(yield* journal.holds(id, claimed.epoch - 1))
        assert.isTrue(yield* journal.holds(id, claimed.epoch))
        assert.deepStrictEqual(yield* claim(1), [])
        yield* journal.append(write(id, { epoch: claimed.epoch, position: 0, entries: [startOf("a", claimed.epoch)] }))
      }))

    it.effect("a claim takes no more than it asks for, and two at once never the same", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const [one, other] = [yield* journal.join, yield* journal.join]
        const { name } = yield* newSaga()
        const ids = yield* Effect.forEach(
          Array.from({ length: 30 }),
          () => Effect.map(waiting({ name }), ({ id }) => id),
          { concurrency: "unbounded" }
        )
        const claims = yield* Effect.forEach(
          [one, other, one, other],
          (owner) => journal.claim(owner, [{ name, version: 1 }], 7),
          { concurrency: "unbounded" }
        )
        for (const claimed of claims) assert.isAtMost(claimed.length, 7)
        const rest = yield* journal.claim(one, [{ name, version: 1 }], 100)
        assert.sameMembers([...claims, rest].flat().map(({ id }) => id), ids)
        for (const record of [...claims, rest].flat()) {
          assert.isTrue(yield* journal.holds(record.id, record.epoch))
        }
      }))

    it.effect("law 52: an owner whose lease has ended loses its sagas to others, and then writes no more", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const former = yield* journal.join
        const { id, name } = yield* begun(former)
        yield* (yield* Leases).end(former)
        const owner = yield* journal.join
        yield* journal.append(write(id, { entries: [startOf("b")] }))
        const claimed = only(yield* journal.claim(owner, [{ name, version: 1 }], 10))
        assert.deepStrictEqual(stored(claimed), { id, epoch: 2, recoveries: 1, isCancelRequested: false })
        assert.deepStrictEqual(claimed.entries, [startOf("a"), startOf("b")])
        const late = write(id, { position: 2, entries: [startOf("c")] })
        assert.deepStrictEqual(yield* Effect.exit(journal.append(late)), isLost(id))
        assert.deepStrictEqual(yield* Effect.exit(journal.transact(Effect.void, () => late)), isLost(id))
        assert.isFalse(yield* journal.holds(id, 1))
        assert.deepStrictEqual(yield* journal.keep(former, []), Option.none())

        // Dead owners are counted until somebody writes
        yield* (yield* Leases).end(owner)
        const third = yield* journal.join
        assert.strictEqual((yield* journal.claim(third, [{ name, version: 1 }], 10))[0]?.recoveries, 2)
        yield* journal.append(write(id, { epoch: 3, position: 2, entries: [startOf("d", 3)] }))
        assert.strictEqual((yield* find(id)).recoveries, 0)
        assert.strictEqual((yield* find(id)).entries.length, 3)
      }))

    it.effect("what an owner gives back is free at once, and nobody is counted as dead", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const [owner, other] = [yield* journal.join, yield* journal.join]
        const first = yield* begun(owner)
        const second = yield* begun(owner, { name: first.name })
        const foreign = yield* begun(other, { name: first.name })
        const claim = journal.claim(other, [{ name: first.name, version: 1 }], 10)
        yield* journal.giveBack(owner, [first.id, foreign.id])
        assert.deepStrictEqual((yield* claim).map(stored), [
          { id: first.id, epoch: 2, recoveries: 0, isCancelRequested: false }
        ])
        yield* journal.leave(owner)
        assert.deepStrictEqual((yield* claim).map(stored), [
          { id: second.id, epoch: 2, recoveries: 0, isCancelRequested: false }
        ])
        assert.deepStrictEqual(yield* journal.keep(owner, []), Option.none())
        assert.isTrue(Option.isSome(yield* journal.keep(other, [])))
        assert.deepStrictEqual(yield* claim, [])
      }))

    it.effect("sagas in versions that nobody can run are orphans", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const [one, other] = [yield* journal.join, yield* journal.join]
        const { name } = yield* newSaga()
        const sagas = yield* Effect.forEach([1, 2, 3], (version) => waiting({ name, version }))
        yield* journal.keep(one, [{ name, version: 1 }])
        yield* journal.keep(other, [{ name: "another", version: 3 }, { name, version: 2 }])
        assert.deepStrictEqual(yield* journal.claimOrphans(one, ["another"], 10), [])
        assert.deepStrictEqual(yield* journal.claimOrphans(one, [], 10), [])
        const orphans = yield* journal.claimOrphans(one, [name], 10)
        assert.deepStrictEqual(orphans.map(({ id }) => id), [sagas[2]?.id])
        yield* (yield* Leases).end(other)
        const third = yield* journal.join
        yield* journal.keep(third, [{ name, version: 1 }])
        const later = (yield* journal.claimOrphans(third, [name], 10)).map(({ id }) => id)
        assert.include(later, sagas[1]?.id)
        assert.notInclude(later, sagas[0]?.id)
      }))

    it.effect("a parked saga is seized by one at a time", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const owner = yield* journal.join
        const { id, name } = yield* begun(owner)
        assert.deepStrictEqual(yield* journal.seize(id), Option.none())
        assert.deepStrictEqual(yield* journal.seize("no saga"), Option.none())
        yield* journal.append(write(id, { entries: [startOf("b")], status: parkedStatus, isLast: true }))
        const first = Option.getOrThrow(yield* journal.seize(id))
        const second = Option.getOrThrow(yield* journal.seize(id))
        assert.isAbove(second.epoch, first.epoch)
        assert.deepStrictEqual(second, yield* find(id))
        const goOn = ({ epoch }: SagaRecord) =>
          Effect.exit(journal.append(write(id, { epoch, position: 2, entries: [startOf("c", epoch)], isLast: true })))
        assert.deepStrictEqual(yield* goOn(first), isLost(id))
        assert.deepStrictEqual(yield* goOn(second), Exit.void)
        const claimed = only(yield* journal.claim(owner, [{ name, version: 1 }], 10))
        assert.strictEqual(claimed.id, id)
        assert.strictEqual(claimed.entries.length, 3)
        assert.deepStrictEqual(claimed.status, started)
      }))

    it.effect("the owner hears what is to be cancelled", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const [owner, other] = [yield* journal.join, yield* journal.join]
        const { id, name } = yield* begun(owner)
        yield* begun(owner)
        assert.deepStrictEqual(yield* journal.keep(owner, []), Option.some([]))
        yield* journal.requestCancel(id)
        assert.deepStrictEqual(yield* journal.keep(owner, []), Option.some([id]))
        assert.deepStrictEqual(yield* journal.keep(other, []), Option.some([]))
        yield* journal.giveBack(owner, [id])
        assert.deepStrictEqual(yield* journal.keep(owner, []), Option.some([]))
        assert.isTrue(only(yield* journal.claim(other, [{ name, version: 1 }], 1)).isCancelRequested)
        yield* journal.append(write(id, { epoch: 2, status: { ...started, state: "completed" }, isLast: true }))
        assert.deepStrictEqual(yield* journal.keep(other, []), Option.some([]))
      }))

    it.effect("lists the newest first, page by page", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const owner = yield* journal.join
        const base = 4_000_000_000_000
        const { name } = yield* newSaga()
        const times = [5, 1, 3, 3, 3, 2, 4]
        const ids = yield* Effect.forEach(
          times,
          (time, n) => Effect.map(begun(owner, { name, id: `${name}-${n}`, startedAt: base + time }), ({ id }) => id)
        )
        const expected = [0, 6, 4, 3, 2, 5, 1].map((n) => ids[n])
        const listed: Array<string> = []
        let after: { readonly startedAt: number; readonly id: string } | undefined
        while (listed.length < ids.length) {
          const page = yield* journal.list({ after, limit: 2 })
          assert.isAtMost(page.length, 2)
          listed.push(...page.filter((saga) => saga.name === name).map(({ id }) => id))
          after = page.at(-1)
        }
        assert.deepStrictEqual(listed.slice(0, ids.length), expected)

        const [first = "", second = ""] = ids
        yield* journal.append(write(first, { status: parkedStatus, isLast: true }))
        yield* journal.append(write(second, { status: { ...started, state: "compensated" }, isLast: true }))
        const inState = (state: SagaStatus["state"]) =>
          Effect.map(
            journal.list({ state, limit: 100 }),
            (sagas) => sagas.filter((saga) => saga.name === name).map(({ id }) => id)
          )
        assert.deepStrictEqual(yield* inState("parked"), [first])
        assert.deepStrictEqual(yield* inState("compensated"), [second])
        assert.deepStrictEqual(yield* inState("completed"), [])
        assert.deepStrictEqual(yield* inState("running"), expected.filter((id) => id !== first && id !== second))
        const [one] = yield* journal.list({ state: "parked", limit: 1 })
        const { status, startedAt } = yield* find(first)
        assert.deepStrictEqual(one?.status, status)
        assert.strictEqual(one?.startedAt, startedAt)

        assert.strictEqual((yield* journal.parked).get(name), 1)
        yield* journal.seize(first)
        yield* journal.append(write(first, { epoch: 2, isLast: true }))
        assert.strictEqual((yield* journal.parked).get(name), undefined)
      }))

    it.effect("those who claim are woken when there may be something for them", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const owner = yield* journal.join
        const changes = yield* journal.changes
        const wakes = Effect.fnUntraced(function*(what: string, action: Effect.Effect<unknown, unknown>) {
          changes.closeUnsafe()
          yield* Effect.orDie(action)
          yield* Effect.timeoutOrElse(changes.await, {
            duration: "60 seconds",
            orElse: () => Effect.die(new Error(`not woken by ${what}`))
          })
        })
        const fresh = yield* newSaga()
        yield* wakes("a new saga", journal.create(fresh, { entries: [], status: started, isLast: true }))
        const first = yield* begun(owner)
        yield* wakes("what is given back", journal.giveBack(owner, [first.id]))
        const second = yield* begun(owner)
        yield* wakes("a request to cancel", journal.requestCancel(second.id))
        yield* wakes("one who leaves", journal.leave(owner))
        const other = yield* journal.join
        const third = yield* begun(other)
        yield* journal.append(write(third.id, { status: parkedStatus, isLast: true }))
        yield* journal.seize(third.id)
        yield* wakes("one that goes on", journal.append(write(third.id, { epoch: 2, isLast: true })))
      }).pipe(Effect.scoped))

    it.effect("those who wait for a saga are woken when it has ended or stands still", () =>
      Effect.gen(function*() {
        const journal = yield* Journal
        const owner = yield* journal.join
        for (const state of ["completed", "compensated", "parked"] as const) {
          const { id } = yield* begun(owner)
          const other = yield* journal.watch((yield* begun(owner)).id)
          const latch = yield* journal.watch(id)
          yield* journal.watch(id)
          latch.closeUnsafe()
          other.closeUnsafe()
          yield* journal.append(write(id, { entries: [startOf("b")] }))
          yield* journal.append(write(id, { position: 2, status: { ...parkedStatus, state }, isLast: true }))
          yield* Effect.timeoutOrElse(latch.await, {
            duration: "60 seconds",
            orElse: () => Effect.die(new Error(`not woken by ${state}`))
          })
          assert.isFalse(yield* isOpen(other))
        }
        yield* journal.watch("no saga")
      }).pipe(Effect.scoped))
  })
