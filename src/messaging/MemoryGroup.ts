/** The shared state of one consumer group of `EventLogMemory`. Times are milliseconds since the epoch. */
import type { Latch } from "effect"
import { shareOf } from "./Assignment.ts"
import type { Held } from "./GroupMember.ts"

interface Member {
  readonly id: string
  readonly topics: ReadonlyArray<string>
  readonly changes: Latch.Latch
  expiresAt: number
}

interface Holding {
  readonly topic: string
  readonly partition: number
  owner: string | undefined
  generation: number
  committed: number
}

export class MemoryGroup {
  readonly #leaseMillis: number
  readonly #members = new Map<string, Member>()
  readonly #holdings = new Map<string, Holding>()
  #joined = 0

  constructor(leaseMillis: number) {
    this.#leaseMillis = leaseMillis
  }

  get holdings(): Iterable<{ readonly topic: string; readonly partition: number; readonly committed: number }> {
    return this.#holdings.values()
  }

  /** Settles where the group starts in a partition that it has not seen before. */
  begin(topic: string, partition: number, committed: number): void {
    const name = `${topic}/${partition}`
    if (this.#holdings.has(name)) return
    this.#holdings.set(name, { topic, partition, owner: undefined, generation: 0, committed })
  }

  join(topics: ReadonlyArray<string>, changes: Latch.Latch, now: number): string {
    const id = `member-${++this.#joined}`
    this.#members.set(id, { id, topics, changes, expiresAt: now + this.#leaseMillis })
    this.#announce()
    return id
  }

  /** `undefined` when the member's lease has ended. */
  sync(id: string, now: number): ReadonlyArray<Held> | undefined {
    for (const member of this.#members.values()) {
      if (member.expiresAt <= now) this.leave(member.id)
    }
    const member = this.#members.get(id)
    if (member === undefined) return undefined
    member.expiresAt = now + this.#leaseMillis

    const { excess, free } = shareOf(id, [...this.#members.values()], [...this.#holdings.values()])
    for (const holding of free) {
      holding.owner = id
      holding.generation++
    }
    return [...this.#holdings.values()]
      .filter(({ owner }) => owner === id)
      .map((holding) => ({ ...holding, excess: excess.includes(holding) }))
  }

  release(id: string, held: Held): void {
    const holding = this.#owned(id, held)
    if (holding === undefined) return
    holding.owner = undefined
    this.#announce()
  }

  /** False when the partition is no longer the member's. */
  commit(id: string, held: Held, nextOffset: number, now: number): boolean {
    const holding = this.#owned(id, held)
    const member = this.#members.get(id)
    if (holding === undefined || member === undefined || member.expiresAt <= now) return false
    holding.committed = Math.max(holding.committed, nextOffset)
    return true
  }

  /** As `commit`, for a partition that comes along with the one that is held. */
  commitAlong(id: string, held: Held, topic: string, nextOffset: number, now: number): boolean {
    const companion = this.#holdings.get(`${topic}/${held.partition}`)
    if (companion === undefined || !this.commit(id, held, 0, now)) return false
    companion.committed = Math.max(companion.committed, nextOffset)
    return true
  }

  committed(topic: string, partition: number): number {
    return this.#holdings.get(`${topic}/${partition}`)?.committed ?? 0
  }

  leave(id: string): void {
    this.#members.delete(id)
    for (const holding of this.#holdings.values()) {
      if (holding.owner === id) holding.owner = undefined
    }
    this.#announce()
  }

  /** As if every member had been paused for longer than its lease. */
  endLeases(): void {
    for (const member of this.#members.values()) member.expiresAt = Number.NEGATIVE_INFINITY
  }

  #owned(id: string, { generation, partition, topic }: Held): Holding | undefined {
    const holding = this.#holdings.get(`${topic}/${partition}`)
    return holding?.owner === id && holding.generation === generation ? holding : undefined
  }

  #announce(): void {
    for (const { changes } of this.#members.values()) changes.openUnsafe()
  }
}
