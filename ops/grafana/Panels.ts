/** What the dashboard shows, row by row. `$role` is the roles that are looked at. */

export interface Query {
  /** PromQL. */
  readonly expr: string
  readonly legend: string
}

export interface Panel {
  readonly title: string
  readonly description: string
  /** A unit of Grafana's: https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts */
  readonly unit: string
  readonly queries: readonly [Query, ...ReadonlyArray<Query>]
}

export interface Row {
  readonly title: string
  readonly panels: ReadonlyArray<Panel>
}

const rate = "[$__rate_interval]"
const of = (...labels: ReadonlyArray<string>) => `{${["role=~\"$role\"", ...labels].join(",")}}`
/** Without what Prometheus and Kubernetes ask themselves. */
const asked = "endpoint!~\"/health|/ready|/metrics|/v2/health/.*\""
const latency = (quantile: number): Query => ({
  expr: `histogram_quantile(${quantile}, sum by (le) (rate(app_request_latency_seconds_bucket${of(asked)}${rate})))`,
  legend: `P${quantile * 100}`
})

/** Where nothing failed it is zero, not nothing. */
const failed = (kind: string): Query => {
  const all = `sum(rate(app_request_count_total${of(asked)}${rate}))`
  const these = `sum(rate(app_request_count_total${of(asked, `status=~"${kind}.."`)}${rate}))`
  return { expr: `(${these} or 0 * ${all}) / ${all}`, legend: `${kind}xx` }
}

export const rows: ReadonlyArray<Row> = [
  {
    title: "Requests",
    panels: [
      {
        title: "Request rate",
        description: "Requests answered a second, by route",
        unit: "reqps",
        queries: [{
          expr: `sum by (method, endpoint) (rate(app_request_count_total${of(asked)}${rate}))`,
          legend: "{{method}} {{endpoint}}"
        }]
      },
      {
        title: "Latency",
        description: "Half, 95 and 99 of a hundred requests take no longer",
        unit: "s",
        queries: [latency(0.5), latency(0.95), latency(0.99)]
      },
      {
        title: "Error rate",
        description: "The share of requests that ended with a 5xx, and with a 4xx",
        unit: "percentunit",
        queries: [failed("5"), failed("4")]
      },
      {
        title: "Active connections",
        description: "Connections that are open, and requests that are being answered",
        unit: "short",
        queries: [
          { expr: `sum by (role) (app_active_connections${of()})`, legend: "{{role}} connections" },
          { expr: `sum by (role) (app_active_requests${of()})`, legend: "{{role}} requests" }
        ]
      }
    ]
  },
  {
    title: "What stands behind",
    panels: [
      {
        title: "Database pool use",
        description: "The share of the connections to PostgreSQL that are in use; 100 % and calls wait",
        unit: "percentunit",
        queries: [{
          expr: `database_pool_connections${of()} / database_pool_connections_max${of()}`,
          legend: "{{role}} {{instance}}"
        }]
      },
      {
        title: "Waits for the database pool",
        description: "Calls that wait for a connection, and those that waited in vain, a second",
        unit: "short",
        queries: [
          { expr: `sum by (role) (database_pool_waiting${of()})`, legend: "{{role}} waiting" },
          { expr: `sum by (role) (rate(database_pool_refused_total${of()}${rate}))`, legend: "{{role}} refused" }
        ]
      },
      {
        title: "Cache hits",
        description: "The share of questions that a cache answered",
        unit: "percentunit",
        queries: [{
          expr: `sum by (cache) (rate(cache_answers_total${of("answer=\"hit\"")}${rate})) / ` +
            `sum by (cache) (rate(cache_answers_total${of()}${rate}))`,
          legend: "{{cache}}"
        }]
      },
      {
        title: "Limits",
        description: "Calls a second by limit and decision, and whether limits are counted for all processes together",
        unit: "short",
        queries: [
          {
            expr: `sum by (policy, decision) (rate(rate_limiter_decisions_total${of()}${rate}))`,
            legend: "{{policy}} {{decision}}"
          },
          { expr: `min(rate_limiter_store_up${of()})`, legend: "counted together" }
        ]
      },
      {
        title: "Circuits that are not closed",
        description: "By what they guard",
        unit: "short",
        queries: [{
          expr: `sum by (role, breaker, state) (circuit_breaker_circuits${of("state!=\"Closed\"")})`,
          legend: "{{role}} {{breaker}} {{state}}"
        }]
      },
      {
        title: "Calls through circuits",
        description: "By how they ended, a second",
        unit: "reqps",
        queries: [{
          expr: `sum by (breaker, outcome) (rate(circuit_breaker_calls_total${of()}${rate}))`,
          legend: "{{breaker}} {{outcome}}"
        }]
      }
    ]
  },
  {
    title: "Events and sagas",
    panels: [
      {
        title: "Outbox",
        description: "Events that are committed and not published yet",
        unit: "short",
        queries: [{ expr: "max(maas_outbox_messages)", legend: "waiting" }]
      },
      {
        title: "Age of the outbox",
        description: "How long the oldest of them has waited",
        unit: "s",
        queries: [{ expr: "max(maas_outbox_oldest_seconds)", legend: "oldest" }]
      },
      {
        title: "Consumer lag",
        description: "Records that a group has not handled yet",
        unit: "short",
        queries: [{
          expr: "sum by (group, topic) (max by (group, topic, partition) (messaging_consumer_lag))",
          legend: "{{group}} {{topic}}"
        }]
      },
      {
        title: "Records handled",
        description: "By group and outcome, a second; dead-lettered ones wait for an operator",
        unit: "short",
        queries: [{
          expr: `sum by (group, topic, outcome) (rate(messaging_consumer_records_total${rate}))`,
          legend: "{{group}} {{topic}} {{outcome}}"
        }]
      },
      {
        title: "Time a record takes",
        description: "95 of a hundred attempts take no longer",
        unit: "s",
        queries: [{
          expr:
            `histogram_quantile(0.95, sum by (le, group, topic) (rate(messaging_consumer_attempt_seconds_bucket${rate})))`,
          legend: "{{group}} {{topic}}"
        }]
      },
      {
        title: "Sagas",
        description: "Those under way, those that ended, a second, and those that wait for an operator",
        unit: "short",
        queries: [
          { expr: "sum by (saga) (saga_in_flight)", legend: "{{saga}} under way" },
          { expr: `sum by (saga, outcome) (rate(saga_ended_total${rate}))`, legend: "{{saga}} {{outcome}}" },
          { expr: "max by (saga) (saga_parked)", legend: "{{saga}} parked" }
        ]
      }
    ]
  },
  {
    title: "Models",
    panels: [
      {
        title: "Models and their processes",
        description: "Models in memory, and processes that run or inspect one",
        unit: "short",
        queries: [
          { expr: `sum by (role) (maas_models_loaded${of()})`, legend: "{{role}} models" },
          { expr: `sum by (role) (maas_runner_processes${of()})`, legend: "{{role}} processes" }
        ]
      },
      {
        title: "Calls of models",
        description: "Those that a model works on, and those that wait for it",
        unit: "short",
        queries: [
          { expr: `sum by (role) (maas_inference_in_flight${of()})`, legend: "{{role}} worked on" },
          { expr: `sum by (role) (maas_inference_waiting${of()})`, legend: "{{role}} waiting" }
        ]
      },
      {
        title: "Models that misbehaved",
        description: "Processes that ended by themselves or were killed, an hour",
        unit: "short",
        queries: [
          { expr: `sum(increase(maas_runner_crashes_total${of()}[1h]))`, legend: "ended by themselves" },
          { expr: `sum by (reason) (increase(maas_runner_kills_total${of()}[1h]))`, legend: "killed: {{reason}}" }
        ]
      }
    ]
  },
  {
    title: "Processes",
    panels: [
      {
        title: "Memory",
        description: "Resident memory",
        unit: "bytes",
        queries: [{ expr: `process_resident_memory_bytes${of()}`, legend: "{{role}} {{instance}}" }]
      },
      {
        title: "CPU",
        description: "Processors in use",
        unit: "short",
        queries: [{ expr: `rate(process_cpu_seconds_total${of()}${rate})`, legend: "{{role}} {{instance}}" }]
      },
      {
        title: "Lag of the event loop",
        description: "99 of a hundred turns were late by no more",
        unit: "s",
        queries: [{ expr: `nodejs_eventloop_lag_p99_seconds${of()}`, legend: "{{role}} {{instance}}" }]
      },
      {
        title: "Garbage collection",
        description: "The share of the time that it takes",
        unit: "percentunit",
        queries: [{
          expr: `sum by (role, instance) (rate(nodejs_gc_duration_seconds_sum${of()}${rate}))`,
          legend: "{{role}} {{instance}}"
        }]
      },
      {
        title: "Telemetry",
        description: "Spans and log lines sent and dropped, a second",
        unit: "short",
        queries: [
          { expr: `sum by (signal) (rate(telemetry_exported_total${of()}${rate}))`, legend: "{{signal}} sent" },
          {
            expr: `sum by (signal, reason) (rate(telemetry_dropped_total${of()}${rate}))`,
            legend: "{{signal}} dropped: {{reason}}"
          }
        ]
      }
    ]
  }
]
