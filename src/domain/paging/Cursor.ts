import { Schema } from "effect"

/**
 * Where a page ends, as an opaque text: the next one starts below `before`. Pages are cut by position, not by count, so
 * that rows which are added meanwhile neither double nor hide any.
 */
export const cursorOf = <Position extends Schema.Constraint>(position: Position) =>
  Schema.StringFromBase64Url.pipe(Schema.decodeTo(Schema.fromJsonString(Schema.Struct({ before: position }))))

export const PageLimit = Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 100 }))
export const defaultPageLimit = 20

/** One page: `nextCursor` is null on the last one. */
export const pageOf = <Item extends Schema.Constraint>(item: Item) =>
  Schema.Struct({ items: Schema.Array(item), nextCursor: Schema.NullOr(Schema.String) })
