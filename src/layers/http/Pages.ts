import type { Schema } from "effect"
import { Effect } from "effect"
import { defaultPageLimit } from "../../domain/paging/Cursor.ts"

/**
 * A page and the cursor of the next one. One row more than the page holds is asked for, so that the last page knows
 * that it is the last.
 */
export const makePage = <Position>(
  encodeCursor: (cursor: { readonly before: Position }) => Effect.Effect<string, Schema.SchemaError>
) =>
  Effect.fnUntraced(function*<Row, E, R>(
    query: { readonly limit?: number; readonly cursor?: { readonly before: Position } },
    read: (
      page: { readonly before: Position | undefined; readonly limit: number }
    ) => Effect.Effect<ReadonlyArray<Row>, E, R>,
    positionOf: (row: Row) => Position
  ) {
    const limit = query.limit ?? defaultPageLimit
    const rows = yield* read({ before: query.cursor?.before, limit: limit + 1 })
    const items = rows.slice(0, limit)
    const last = items.at(-1)
    const nextCursor = rows.length > limit && last !== undefined
      ? yield* Effect.orDie(encodeCursor({ before: positionOf(last) }))
      : null
    return { items, nextCursor }
  })
