/**
 * How long the faults of servers last: briefly in the suite, and as long as they are to be survived with
 * `npm run faults:messaging`, which sets `MAAS_LONG_FAULTS`.
 */
const isLong = process.env["MAAS_LONG_FAULTS"] === "1"

/** Seconds that a broker is away. */
export const brokerOutage = isLong ? 60 : 6
/** One a second. */
export const rebalances = isLong ? 60 : 6
/** How often PostgreSQL is restarted. */
export const restarts = isLong ? 6 : 2
/** Events that take effect while acknowledgements get lost. */
export const lossyEvents = isLong ? 20_000 : 2_000
